use std::fs;

use super::*;

fn map<'a>(columns: &'a [String], rows: &'a [String], values: &'a [Vec<f64>]) -> HeatMap<'a> {
    HeatMap {
        title: "a < b",
        x: "tokens",
        y: "layers",
        columns,
        rows,
        values,
        range: [0.0, 1.0],
        marked: &[(1, 0)],
    }
}

#[test]
fn every_value_has_its_color_and_every_label_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.svg");
    let columns = [" the".to_owned(), "<&>\u{7}\n".to_owned()];
    let rows = ["layer 1".to_owned(), "layer 2".to_owned()];
    let values = [vec![0.0, 1.0], vec![0.5, 0.5]];
    heat_map(Some(&path), &map(&columns, &rows, &values)).unwrap();
    let svg = fs::read_to_string(&path).unwrap();
    for part in [
        "a &lt; b",
        "\u{b7}the",
        "&lt;&amp;&gt;\u{fffd}\u{21b5}",
        "layer 2",
        "#F7FBFF",
        "#081D58",
    ] {
        assert!(svg.contains(part), "{part} is not in: {svg}");
    }
    assert!(!svg.contains('\u{7}'));
    assert_eq!(svg.matches("<circle").count(), 1);
}

#[test]
fn labels_show_what_would_not_be_seen() {
    for (text, shown) in [
        (" the", "\u{b7}the"),
        ("layer 2 ", "layer 2\u{b7}"),
        ("   ", "\u{b7}\u{b7}\u{b7}"),
        ("\n", "\u{21b5}"),
        ("", ""),
        ("\u{e9} \u{0}", "\u{e9} \u{fffd}"),
    ] {
        assert_eq!(label(text), shown, "{text:?}");
    }
    assert_eq!(
        label(&"\u{e9}".repeat(25)),
        "\u{e9}".repeat(24) + "\u{2026}"
    );
}

#[test]
fn colors_grow_darker() {
    let light = |share: f64| {
        let RGBColor(r, g, b) = color(share);
        u32::from(r) + u32::from(g) + u32::from(b)
    };
    let steps: Vec<u32> = (0..=20).map(|step| light(f64::from(step) / 20.0)).collect();
    assert!(steps.is_sorted_by(|a, b| a > b), "{steps:?}");
    assert_eq!(color(-1.0), color(0.0));
    assert_eq!(color(7.0), color(1.0));
}

#[test]
fn tables_that_are_none_are_refused() {
    let path = Path::new("never written");
    let labels = ["a".to_owned(), "b".to_owned()];
    let fails = |map: HeatMap<'_>| heat_map(Some(path), &map).unwrap_err().to_string();
    let values = [vec![0.0; 2], vec![0.0]];
    let error = fails(map(&labels, &labels, &values));
    assert!(
        error.contains("row 1") && error.contains("1 values, expected 2"),
        "{error}"
    );
    let error = fails(map(&labels, &labels, &values[..1]));
    assert!(error.contains("2 labels of rows, but 1"), "{error}");
    let error = fails(map(&labels, &[], &[]));
    assert!(error.contains("0 rows and 2 columns"), "{error}");
    let values = [vec![0.0; 2], vec![0.0; 2]];
    let flat = HeatMap {
        range: [1.0, 1.0],
        ..map(&labels, &labels, &values)
    };
    assert!(fails(flat).contains("1 to 1"));
}
