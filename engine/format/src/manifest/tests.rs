use serde_json::Value;

use super::*;
use crate::address::{EngramParameters, Mix, SchemeName};

fn manifest() -> Manifest {
    let scheme = EngramParameters {
        name: "small".into(),
        layers: vec![1, 3],
        heads: 2,
        bucket_starts: vec![10, 10],
        compressed_vocab_size: 99_092,
        pad: 2,
        seed: 0,
    };
    let scheme = scheme.scheme().unwrap();
    let codec = RowCodec::Fp8Ue8m0 {
        width: 64,
        group: 32,
    };
    let tables = scheme.layers.iter().map(|layer| Table {
        layer: layer.id,
        codec,
        source_codec: None,
        planes: [64, 2]
            .map(|row_bytes| Plane {
                row_bytes,
                segments: vec![Segment {
                    tensor: format!("t{row_bytes}"),
                    source: 0,
                    offset: 100,
                    first_row: 0,
                    row_count: layer.row_count,
                }],
            })
            .to_vec(),
        shards: vec![
            ShardDigests {
                data: Digest::of(b"d"),
                rows: Digest::of(b"r"),
            };
            4
        ],
        samples: vec![],
    });
    Manifest {
        tables: tables.collect(),
        token_map: Some(TokenMapFile {
            entries: 10,
            digest: Digest::of(b"map"),
        }),
        storage: Storage::Packed,
        stripes: None,
        sources: vec![SourceFile {
            name: "model-00001-of-00001.safetensors".into(),
            bytes: 1 << 20,
            header_digest: Digest::of(b"header"),
            header_bytes: None,
        }],
        scheme,
    }
}

/// Text of a manifest whose author recomputed the checksum after `edit`.
fn forged(edit: impl FnOnce(&mut Manifest)) -> String {
    let mut forged = manifest();
    edit(&mut forged);
    forged.to_text()
}

fn refusal(text: &str) -> String {
    Manifest::from_text(text.as_bytes())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_manifest_survives_its_text() {
    let text = manifest().to_text();
    assert_eq!(Manifest::from_text(text.as_bytes()).unwrap(), manifest());
    for name in SchemeName::ALL {
        let scheme = serde_json::to_string(&name.scheme()).unwrap();
        assert_eq!(
            serde_json::from_str::<Scheme>(&scheme).unwrap(),
            name.scheme()
        );
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let text = manifest().to_text().into_bytes();
    for bit in 0..text.len() * 8 {
        let mut damaged = text.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Manifest::from_text(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn every_truncation_is_noticed() {
    let text = manifest().to_text().into_bytes();
    for len in 0..text.len() {
        assert!(Manifest::from_text(&text[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn an_edit_by_hand_is_noticed() {
    let text = manifest().to_text();
    assert!(refusal(&text.replace("\"fill\":2", "\"fill\":3")).contains("checksum"));
    assert!(refusal(&text.replace(':', ": ")).contains("canonical"));
    assert!(refusal(&text.replace("engram-pack", "other")).contains("format is \"other\""));
    assert!(refusal("[]").contains("format is missing"));
}

#[test]
fn a_longer_text_is_refused_before_it_is_parsed() {
    let most = usize::try_from(MAX_MANIFEST_BYTES).unwrap();
    // No JSON at all, which only a parser would notice.
    let refused = Manifest::from_text(&vec![b'!'; most + 1]);
    let found = MAX_MANIFEST_BYTES + 1;
    assert!(
        matches!(refused, Err(FormatError::TooLong { found: f, .. }) if f == found),
        "{refused:?}"
    );
    let refused = Manifest::from_text(&vec![b'!'; most]);
    assert!(
        matches!(refused, Err(FormatError::Manifest { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_token_map_beyond_any_vocabulary_is_refused() {
    let with = |entries| {
        forged(|manifest| {
            manifest.token_map = Some(TokenMapFile {
                entries,
                digest: Digest::of(b"map"),
            });
        })
    };
    let most = 1 << 24;
    assert!(Manifest::from_text(with(most).as_bytes()).is_ok());
    for entries in [0, most + 1] {
        let refused = refusal(&with(entries));
        let expected = format!("token_map.entries is {entries}, expected 1 to {most}");
        assert!(refused.contains(&expected), "{refused}");
    }
}

#[test]
fn schemes_that_older_readers_do_not_know_take_version_3() {
    let version = |text: &str| serde_json::from_str::<Value>(text).unwrap()["version"].clone();
    assert_eq!(version(&manifest().to_text()), 1);
    let per_column = |m: &mut Manifest| {
        let orders = m.scheme.columns(0).map(|column| column.order as usize);
        let factors: Vec<Vec<u64>> = orders.map(|order| vec![3; order]).collect();
        for layer in &mut m.scheme.layers {
            layer.hash = HashRule::PerColumn {
                mix: Mix::Xor,
                factors: factors.clone(),
            };
        }
    };
    let text = forged(per_column);
    assert_eq!(version(&text), 3);
    assert!(Manifest::from_text(text.as_bytes()).is_ok());
    // Such a scheme under an older version is not written by anyone.
    let mut root: Value = serde_json::from_str(&text).unwrap();
    root["version"] = 1.into();
    root.as_object_mut().unwrap().remove("checksum");
    root["checksum"] = Digest::of(canonical(&root).as_bytes()).to_string().into();
    let refused = refusal(&(canonical(&root) + "\n"));
    assert!(refused.contains("exactly the keys"), "{refused}");
}

#[test]
fn a_newer_version_is_refused_before_anything_else() {
    let refused = Manifest::from_text(br#"{"format":"engram-pack","version":4,"new":1}"#);
    assert!(
        matches!(refused, Err(FormatError::Version { found: 4, .. })),
        "{refused:?}"
    );
}

#[test]
fn contradictions_under_a_valid_checksum_are_named() {
    type Edit = fn(&mut Manifest);
    let cases: [(Edit, &str); 18] = [
        (|m| m.scheme.heads = 0, "heads is 0"),
        (|m| m.scheme.max_order = 99, "max_order is 99"),
        (|m| m.scheme.fill = 99_092, "fill is 99092"),
        (|m| m.scheme.layers[1].id = LayerId(1), "layer is 1"),
        (
            |m| m.scheme.layers[0].buckets[0] = 0,
            "buckets of a column is 0",
        ),
        (|m| m.scheme.layers[0].row_count = 5, "5"),
        (|m| m.token_map = None, "token_map is null"),
        (
            |m| m.sources[0].name = "../secret".into(),
            "sources.name is ../secret",
        ),
        (|m| m.tables.truncate(1), "tables is 1"),
        (|m| m.tables[0].layer = LayerId(9), "tables.layer is 9"),
        (
            |m| m.tables[0].codec = RowCodec::F32 { width: 0 },
            "width is 0",
        ),
        (
            |m| m.tables[0].codec = RowCodec::F32 { width: 9 },
            "planes.row_bytes is [64, 2], expected [36]",
        ),
        (|m| m.tables[1].shards.truncate(3), "tables.shards is 3"),
        (
            |m| m.tables[0].planes[1].segments[0].source = 1,
            "t2.source is 1",
        ),
        (
            |m| m.tables[0].planes[0].segments[0].offset = u64::MAX,
            "t64.offset is",
        ),
        (
            |m| m.tables[0].planes[0].segments[0].row_count -= 1,
            "rows of all segments",
        ),
        (
            |m| m.sources[0].header_bytes = Some((1 << 20) + 1),
            "sources.header_bytes is 1048577, expected at most 1048576",
        ),
        (
            |m| m.tables[0].planes[1].row_bytes = 3,
            "planes.row_bytes is [64, 3], expected [64, 2] or [66], by the codec",
        ),
    ];
    for (edit, expected) in cases {
        let refused = refusal(&forged(edit));
        assert!(refused.contains(expected), "`{refused}` lacks `{expected}`");
    }
}

#[test]
fn converted_rows_take_version_3_and_planes_of_the_checkpoint() {
    type Edit = fn(&mut Manifest);
    let converted = |edit: Edit| {
        forged(|manifest| {
            for table in &mut manifest.tables {
                table.source_codec = Some(table.codec);
                table.codec = RowCodec::Q8_0 { width: 64 };
            }
            edit(manifest);
        })
    };
    let text = converted(|_| ());
    assert!(text.ends_with("\"version\":3}\n"), "{text}");
    let read = Manifest::from_text(text.as_bytes()).unwrap();
    assert_eq!(read.tables[0].layout().row_bytes(), 68);
    // One converted table is enough.
    let one = converted(|m| m.tables[1] = manifest().tables.remove(1));
    assert!(one.ends_with("\"version\":3}\n"), "{one}");
    Manifest::from_text(one.as_bytes()).unwrap();
    let cases: [(Edit, &str); 4] = [
        (
            |m| m.tables[0].source_codec = None,
            "planes.row_bytes is [64, 2], expected [68]",
        ),
        (
            |m| m.tables[0].codec = RowCodec::Q8_0 { width: 96 },
            "source_codec.width is 64, expected 96",
        ),
        (
            |m| m.tables[0].source_codec = Some(RowCodec::F32 { width: 0 }),
            "width is 0",
        ),
        (
            |m| {
                let checkpoint = "/c".into();
                m.storage = Storage::Attached { checkpoint };
            },
            "source_codec is present, expected none in an attached pack",
        ),
    ];
    for (edit, expected) in cases {
        let refused = refusal(&converted(edit));
        assert!(refused.contains(expected), "`{refused}` lacks `{expected}`");
    }
}

fn striped(edit: impl FnOnce(&mut Stripes)) -> String {
    forged(|manifest| {
        let folders = ["within/a", "/drive/b", PACK_FOLDER]
            .map(str::to_owned)
            .to_vec();
        let mut stripes = Stripes::in_turns(folders, 2, 4);
        edit(&mut stripes);
        manifest.stripes = Some(stripes);
    })
}

#[test]
fn stripes_take_version_2_and_nothing_else_does() {
    assert!(manifest().to_text().ends_with("\"version\":1}\n"));
    let text = striped(|_| ());
    assert!(text.ends_with("\"version\":2}\n"), "{text}");
    let read = Manifest::from_text(text.as_bytes()).unwrap();
    let stripes: Vec<Option<u32>> = (0..4).map(|column| read.stripe_of(1, column)).collect();
    assert_eq!(stripes, [Some(1), Some(2), Some(0), Some(1)]);
    assert_eq!(manifest().stripe_of(1, 3), None);
    let without: Value = serde_json::from_str(&text).unwrap();
    for text in [
        forged_json(|m| m["version"] = 2.into()),
        forged_json(|m| m["stripes"] = without["stripes"].clone()),
        forged_json(|m| (m["stripes"], m["version"]) = (Value::Null, 2.into())),
    ] {
        assert!(
            refusal(&text).contains("exactly the keys"),
            "{}",
            refusal(&text)
        );
    }
}

#[test]
fn stripes_lead_nowhere_but_where_they_say() {
    type Edit = fn(&mut Stripes);
    let cases: [(Edit, &str); 14] = [
        (|s| s.folders.clear(), "stripes.folders is 0"),
        (
            |s| s.folders = (0..257).map(|n| n.to_string()).collect(),
            "stripes.folders is 257",
        ),
        (
            |s| s.folders[0] = String::new(),
            "stripes.folders is , expected",
        ),
        (
            |s| s.folders[0] = "/".into(),
            "stripes.folders is /, expected",
        ),
        (|s| s.folders[0] = "..".into(), "stripes.folders is .."),
        (
            |s| s.folders[0] = "a/../../b".into(),
            "stripes.folders is a/../../b",
        ),
        (
            |s| s.folders[0] = "/a/../b".into(),
            "stripes.folders is /a/../b",
        ),
        (|s| s.folders[0] = "./a".into(), "stripes.folders is ./a"),
        (|s| s.folders[0] = "a//b".into(), "stripes.folders is a//b"),
        (|s| s.folders[0] = "a\\b".into(), "stripes.folders is a\\b"),
        (|s| s.folders[0] = "/drive/b".into(), "different paths"),
        (
            |s| s.columns[1].truncate(3),
            "stripes.columns is of [4, 3] columns",
        ),
        (
            |s| s.columns.truncate(1),
            "stripes.columns is of [4] columns",
        ),
        (
            |s| s.columns[0][2] = 3,
            "stripes.columns is 3, expected 0 to 2",
        ),
    ];
    for (edit, expected) in cases {
        let refused = refusal(&striped(edit));
        assert!(refused.contains(expected), "`{refused}` lacks `{expected}`");
    }
    let attached = forged(|manifest| {
        manifest.storage = Storage::Attached {
            checkpoint: "/c".into(),
        };
        for table in &mut manifest.tables {
            table.shards.clear();
            table.samples.push(Sample { row: 0, seal: 0 });
        }
        manifest.stripes = Some(Stripes::in_turns(vec!["a".into()], 2, 4));
    });
    assert!(refusal(&attached).contains("none but in a packed pack"));
}

#[test]
fn rows_may_lie_whole_in_one_tensor_of_a_file_whose_header_ends_anywhere() {
    let text = forged(|m| {
        m.sources[0].header_bytes = Some(96);
        for table in &mut m.tables {
            table.planes.truncate(1);
            table.planes[0].row_bytes = 66;
        }
    });
    let manifest = Manifest::from_text(text.as_bytes()).unwrap();
    assert_eq!(manifest.sources[0].header_bytes, Some(96));
    assert_eq!(manifest.to_text(), text);
}

#[test]
fn a_codec_of_a_later_release_is_refused_by_its_name() {
    let text = forged_json(|m| m["tables"][0]["codec"]["name"] = "q9_9".into());
    assert!(
        refusal(&text).contains("unknown variant `q9_9`, expected one of `f32`"),
        "{}",
        refusal(&text)
    );
}

#[test]
fn digits_beyond_64_bits_do_not_pass_as_numbers() {
    let text = manifest()
        .to_text()
        .replace("\"fill\":2", "\"fill\":99999999999999999999999");
    assert!(Manifest::from_text(text.as_bytes()).is_err());
}

/// Text of a manifest whose author recomputed the checksum after `edit` of its JSON.
fn forged_json(edit: impl FnOnce(&mut Value)) -> String {
    let mut root: Value = serde_json::from_str(&manifest().to_text()).unwrap();
    edit(&mut root);
    root.as_object_mut().unwrap().remove("checksum");
    root["checksum"] = Digest::of(canonical(&root).as_bytes()).to_string().into();
    canonical(&root) + "\n"
}

#[test]
fn other_forms_under_a_valid_checksum_are_refused() {
    type Edit = fn(&mut Value);
    let remove = |value: &mut Value, key: &str| drop(value.as_object_mut().unwrap().remove(key));
    assert_eq!(forged_json(|_| ()), manifest().to_text());
    let cases: [Edit; 6] = [
        |m| m["extra"] = 1.into(),
        |m| m["storage"]["extra"] = 1.into(),
        |m| m["scheme"]["layers"][0]["hash"]["extra"] = 1.into(),
        |m| m["tables"][0]["shards"][0] = serde_json::json!(["0".repeat(32), "0".repeat(32)]),
        |m| m["sources"][0]["bytes"] = 1.0.into(),
        |m| m["version"] = 0.into(),
    ];
    for (index, edit) in cases.into_iter().enumerate() {
        let refused = Manifest::from_text(forged_json(edit).as_bytes());
        assert!(refused.is_err(), "case {index}: {refused:?}");
    }
    for text in [
        forged_json(|m| remove(&mut m["scheme"], "boundary")),
        forged_json(|m| {
            m["scheme"]["compressed"] = false.into();
            remove(m, "token_map");
        }),
    ] {
        assert!(
            refusal(&text).contains("exactly the keys"),
            "{}",
            refusal(&text)
        );
    }
}
