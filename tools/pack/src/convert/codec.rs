//! A row codec as users name it, without the width, which the table has.

use std::{fmt, str::FromStr};

use anyhow::{Context, Error, Result, bail};
use engram_format::RowCodec;
use serde_json::{Map, Value, json};

/// The parameters that a codec may have.
#[derive(Debug, Clone, Copy)]
enum Parameters {
    None,
    /// One scale for the table, found in it if not given.
    Table,
    /// Values that share a scale in UE8M0.
    Group(u32),
    /// Values that share a scale, none for all of a row, and how it is stored.
    Scaled(Option<u32>, &'static str),
}

/// Every codec, with what its parameters are if they are not given.
const CODECS: [(&str, Parameters); 18] = [
    ("f32", Parameters::None),
    ("f16", Parameters::None),
    ("bf16", Parameters::None),
    ("fp8_e4m3", Parameters::None),
    ("fp8_e4m3_scaled", Parameters::Table),
    ("fp8_e4m3_ue8m0", Parameters::Group(32)),
    ("fp8_e4m3_grouped", Parameters::Scaled(None, "f32")),
    ("int8", Parameters::Scaled(None, "f32")),
    ("int4", Parameters::Scaled(Some(16), "f16")),
    ("nvfp4", Parameters::Table),
    ("mxfp4", Parameters::None),
    ("q8_0", Parameters::None),
    ("q4_0", Parameters::None),
    ("iq4_nl", Parameters::None),
    ("mxfp4_gguf", Parameters::None),
    ("nvfp4_gguf", Parameters::Table),
    ("q4_k", Parameters::None),
    ("q5_k", Parameters::None),
];

/// A row codec for tables of any width: its name as in a manifest, and parameters after a colon, such as
/// `int4:group=32,scale=f16`, `int8:group=row` or `nvfp4:table_scale=0.0002`.
///
/// ```
/// use engram_pack::CodecSpec;
///
/// let spec: CodecSpec = "int4:group=32".parse()?;
/// assert_eq!(spec.codec(256)?.row_bytes(), 128 + 8 * 2);
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CodecSpec {
    /// As it was given.
    text: String,
    name: &'static str,
    /// As in a manifest, but for the width; a group of 0 is the row.
    parameters: Map<String, Value>,
    finds_scale: bool,
}

impl CodecSpec {
    /// Every codec, with the parameters that it has if none are given.
    ///
    /// # Panics
    /// Never: they are all known.
    pub fn all() -> impl Iterator<Item = Self> {
        let names = CODECS.into_iter().map(|(name, _)| name);
        names.map(|name| name.parse().expect("its name is known"))
    }

    /// The codec for rows of that many values. A table's scale is 0 where it is to be found in the table.
    ///
    /// # Errors
    /// A width that the codec, or its groups, do not fit.
    pub fn codec(&self, width: usize) -> Result<RowCodec> {
        let mut fields = self.parameters.clone();
        fields.insert("name".into(), self.name.into());
        fields.insert("width".into(), width.into());
        if fields.get("group") == Some(&json!(0)) {
            fields.insert("group".into(), width.into());
        }
        let codec: RowCodec = serde_json::from_value(fields.into())?;
        codec.validate()?;
        Ok(codec)
    }

    /// Whether the scale of each table is to be found in it.
    pub(crate) fn finds_scale(&self) -> bool {
        self.finds_scale
    }
}

/// As it was given.
impl fmt::Display for CodecSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for CodecSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, given) = text.split_once(':').unwrap_or((text, ""));
        let known = CODECS.into_iter().find(|(known, _)| *known == name);
        let Some((name, defaults)) = known else {
            let known: Vec<&str> = CODECS.iter().map(|(name, _)| *name).collect();
            bail!(
                "unknown codec `{name}`; known are {}; parameters follow a colon, such as `int4:group=32,scale=f16`",
                known.join(", ")
            );
        };
        let mut parameters = Map::new();
        let allowed: &[&str] = match defaults {
            Parameters::None => &[],
            Parameters::Table => {
                parameters.insert("scale_bits".into(), 0.into());
                &["table_scale"]
            }
            Parameters::Group(group) => {
                parameters.insert("group".into(), group.into());
                &["group"]
            }
            Parameters::Scaled(group, scale) => {
                parameters.insert("group".into(), group.unwrap_or(0).into());
                parameters.insert("scale".into(), scale.into());
                &["group", "scale"]
            }
        };
        let mut finds_scale = matches!(defaults, Parameters::Table);
        for parameter in given.split(',').filter(|parameter| !parameter.is_empty()) {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if !allowed.contains(&key) {
                let expected = match allowed {
                    [] => "none".into(),
                    allowed => allowed.join(" or "),
                };
                bail!("codec `{name}`: unknown parameter `{key}`, expected {expected}");
            }
            let context = || format!("codec `{name}`: {key} is `{value}`");
            let (key, value): (&str, Value) = match key {
                "group" if value == "row" => ("group", 0.into()),
                "group" => {
                    let group: u32 = value.parse().with_context(context)?;
                    if group == 0 {
                        bail!("{}, expected values, or `row`", context());
                    }
                    ("group", group.into())
                }
                "scale" => ("scale", value.into()),
                _ => {
                    let scale: f32 = value.parse().with_context(context)?;
                    if !(scale.is_finite() && scale > 0.0) {
                        bail!("{}, expected a number above 0", context());
                    }
                    finds_scale = false;
                    ("scale_bits", scale.to_bits().into())
                }
            };
            parameters.insert(key.into(), value);
        }
        let spec = Self {
            text: text.into(),
            name,
            parameters,
            finds_scale,
        };
        // Types of scales are said wrongly for every width alike.
        if let Some(scale) = spec.parameters.get("scale") {
            let known = ["f32", "f16", "bf16", "e4m3", "ue8m0"];
            if !known.iter().any(|known| scale == known) {
                bail!(
                    "codec `{name}`: scale is {scale}, expected {}",
                    known.join(", ")
                );
            }
        }
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn parse(text: &str) -> Result<CodecSpec> {
        text.parse()
    }

    #[test]
    fn every_codec_can_be_named() {
        let ids = CodecSpec::all().map(|spec| {
            let codec = spec.codec(256).unwrap();
            assert_eq!(codec.name(), spec.to_string());
            codec.id()
        });
        assert_eq!(ids.collect::<BTreeSet<u32>>(), (1..=18).collect());
    }

    #[test]
    fn parameters_are_those_of_the_codec() {
        let of = |text: &str| parse(text).unwrap().codec(160).unwrap().to_string();
        assert_eq!(
            of("int4"),
            "160 values in INT4 with a scale in F16 for every 16"
        );
        assert_eq!(
            of("int4:group=row,scale=e4m3"),
            "160 values in INT4 with a scale in E4M3 for the row"
        );
        assert_eq!(
            of("nvfp4:table_scale=0.25"),
            "160 values in NVFP4 with the scale 0.25 for the whole table"
        );
        assert!(parse("nvfp4").unwrap().finds_scale());
        assert!(!parse("nvfp4:table_scale=0.25").unwrap().finds_scale());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (
                "q3",
                "unknown codec `q3`; known are f32, f16, bf16, fp8_e4m3,",
            ),
            ("bf16:group=2", "unknown parameter `group`, expected none"),
            (
                "nvfp4:scale=f16",
                "unknown parameter `scale`, expected table_scale",
            ),
            ("int4:group=0", "group is `0`"),
            ("int4:group", "group is ``"),
            ("int4:scale=f64", "scale is \"f64\", expected f32, f16"),
            ("nvfp4:table_scale=-1", "expected a number above 0"),
            ("nvfp4:table_scale=inf", "expected a number above 0"),
        ];
        for (text, expected) in cases {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
        let error = parse("q4_k").unwrap().codec(160).unwrap_err().to_string();
        assert!(
            error.contains("width is 160, expected a multiple of 256"),
            "{error}"
        );
    }
}
