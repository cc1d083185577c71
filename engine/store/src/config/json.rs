//! Settings as JSON or from the environment, for callers that are no Rust programs.

use std::{collections::BTreeMap, env, ffi::OsString, path::PathBuf};

use engram_format::Columns;
use serde_json::{Map, Value};
use thiserror::Error;

use super::{Config, Reader, Resident};

/// Settings that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Text that is not a JSON object.
    #[error("the settings are not a JSON object: {reason}")]
    NotJson {
        /// What is wrong, with the place.
        reason: String,
    },
    /// A field that there is not.
    #[error("the settings have the unknown field `{field}`; known are {}", FIELDS.map(|(name, _)| name).join(", "))]
    UnknownField {
        /// The field.
        field: String,
    },
    /// A field with a value that it cannot have.
    #[error("the settings: `{field}` is {found}, expected {expected}")]
    Field {
        /// The field, or its environment variable.
        field: String,
        /// Its value, as JSON or as the environment has it.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
}

/// Reads a field into a configuration. What is expected instead, if its value is none that the field can have.
type Set = fn(&mut Config, &Value) -> Result<(), &'static str>;

const READERS: [(&str, Reader); 5] = [
    ("mmap", Reader::Mmap),
    ("pread", Reader::Pread),
    ("direct", Reader::Direct),
    ("direct_threads", Reader::DirectThreads),
    ("memory", Reader::Memory),
];

const A_PATH: &str = "a path as text";
const A_COUNT: &str = "a whole number that is not negative";
const A_SIZE: &str =
    "a number of bytes, or text such as \"512 MiB\" (units: B, KiB, MiB, GiB, TiB)";

const FIELDS: [(&str, Set); 14] = [
    ("reader", |config, value| {
        let name = value.as_str();
        let reader = READERS.iter().find(|(known, _)| Some(*known) == name);
        config.reader = reader
            .ok_or("\"mmap\", \"pread\", \"direct\", \"direct_threads\" or \"memory\"")?
            .1;
        Ok(())
    }),
    ("check_seals", |config, value| {
        config.check_seals = value.as_bool().ok_or("true or false")?;
        Ok(())
    }),
    ("checkpoint", |config, value| {
        set_path(&mut config.checkpoint, value)
    }),
    ("stripes", |config, value| {
        config.stripes = stripes(value).ok_or(
            "folders by the number of their stripe, such as {\"1\": \"/mnt/drive/stripe\"}",
        )?;
        Ok(())
    }),
    ("columns", |config, value| {
        config.columns = columns(value).ok_or(
            "\"all\", {\"rank\": R, \"ranks\": N}, [START, END] for columns START to END (exclusive) of every layer, \
             or such lists by layer, as {\"1\": [0, 6]}",
        )?;
        Ok(())
    }),
    ("resident", |config, value| {
        config.resident = resident(value).ok_or(
            "\"none\", {\"orders\": N} for n-grams of up to N tokens, or {\"bytes\": SIZE} for as many columns as fit",
        )?;
        Ok(())
    }),
    ("resident_folder", |config, value| {
        set_path(&mut config.resident_folder, value)
    }),
    ("cache_bytes", |config, value| {
        config.cache_bytes = Some(bytes(value)?);
        Ok(())
    }),
    ("cache_folder", |config, value| {
        set_path(&mut config.cache_folder, value)
    }),
    ("profile", |config, value| {
        set_path(&mut config.profile, value)
    }),
    ("io_threads", |config, value| {
        config.io_threads = count(value).ok_or(A_COUNT)?;
        Ok(())
    }),
    ("io_depth", |config, value| {
        let depth = value.as_u64().and_then(|depth| u16::try_from(depth).ok());
        config.io_depth = depth
            .filter(|&depth| depth > 0)
            .ok_or("a whole number from 1 to 65535")?;
        Ok(())
    }),
    ("gather_threads", |config, value| {
        config.gather_threads = Some(count(value).ok_or(A_COUNT)?);
        Ok(())
    }),
    ("pool_bytes", |config, value| {
        config.pool_bytes = bytes(value)?;
        Ok(())
    }),
];

impl Config {
    /// Reads settings from the JSON object `text`. What it does not name is as in [`Config::new`].
    ///
    /// | field | value |
    /// |---|---|
    /// | `reader` | `"mmap"`, `"pread"`, `"direct"`, `"direct_threads"` or `"memory"`: [`Config::reader`] |
    /// | `check_seals` | true or false: [`Config::check_seals`] |
    /// | `checkpoint` | a path: [`Config::checkpoint`] |
    /// | `stripes` | an object of paths, by the number of the stripe: [`Config::stripe`] |
    /// | `columns` | `"all"`, `{"rank": R, "ranks": N}`, `[START, END]` or `{"1": [0, 6]}`: [`Config::columns`] |
    /// | `resident` | `"none"`, `{"orders": N}` or `{"bytes": SIZE}`: [`Config::resident`] |
    /// | `resident_folder` | a path: [`Config::resident_folder`] |
    /// | `cache_bytes` | a size: [`Config::cache_bytes`] |
    /// | `cache_folder` | a path: [`Config::cache_folder`] |
    /// | `profile` | a path: [`Config::profile`] |
    /// | `io_threads` | a number: [`Config::io_threads`] |
    /// | `io_depth` | a number from 1 to 65,535: [`Config::io_depth`] |
    /// | `gather_threads` | a number: [`Config::gather_threads`] |
    /// | `pool_bytes` | a size: [`Config::pool_bytes`] |
    ///
    /// A size is a number of bytes, or text: a whole number and one of the units `B`, `KiB`, `MiB`, `GiB` and `TiB`.
    ///
    /// ```
    /// use engram::{Config, Reader, Resident};
    ///
    /// let config = Config::from_json(r#"{"reader": "pread", "resident": {"bytes": "512 MiB"}}"#)?;
    /// assert_eq!((config.reader, config.resident), (Reader::Pread, Resident::Bytes(512 << 20)));
    /// # Ok::<(), engram::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// Text that is not a JSON object, a field that there is not, or one with a value that it cannot have.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        Self::new().with_json(text)
    }

    /// Reads settings from the JSON object `text`, as [`Self::from_json`] does. What it does not name stays as it is.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub fn with_json(mut self, text: &str) -> Result<Self, ConfigError> {
        let fields: Map<String, Value> =
            serde_json::from_str(text).map_err(|reason| ConfigError::NotJson {
                reason: reason.to_string(),
            })?;
        for (field, value) in fields {
            let Some((_, set)) = FIELDS.iter().find(|(known, _)| *known == field) else {
                return Err(ConfigError::UnknownField { field });
            };
            set(&mut self, &value).map_err(|expected| ConfigError::Field {
                field,
                found: value.to_string(),
                expected,
            })?;
        }
        Ok(self)
    }

    /// Reads settings from environment variables. Each field of [`Self::from_json`] has one, in capitals and after
    /// `ENGRAM_`: `ENGRAM_READER=pread`, `ENGRAM_CACHE_BYTES="1 GiB"`, `ENGRAM_RESIDENT='{"orders": 2}'`. Text needs no
    /// quotes of JSON. Fields without a variable are as in [`Config::new`]; variables of other names are left alone.
    ///
    /// # Errors
    /// A variable with a value that its field cannot have.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| env::var_os(name))
    }

    fn from_variables(find: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let mut config = Self::new();
        for (field, set) in FIELDS {
            let name = format!("ENGRAM_{}", field.to_ascii_uppercase());
            let Some(found) = find(&name) else {
                continue;
            };
            // Text first, so that a path may be a number.
            let is_set = found.to_str().is_some_and(|text| {
                let json = || serde_json::from_str(text).ok();
                set(&mut config, &text.into()).is_ok()
                    || json().is_some_and(|value| set(&mut config, &value).is_ok())
            });
            if !is_set {
                let expected = set(&mut Self::new(), &Value::Null).err();
                return Err(ConfigError::Field {
                    field: name,
                    found: found.to_string_lossy().into_owned(),
                    expected: expected.unwrap_or("text in UTF-8"),
                });
            }
        }
        Ok(config)
    }
}

fn count(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

fn size(value: &Value) -> Option<u64> {
    let Some(text) = value.as_str() else {
        return value.as_u64();
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn bytes(value: &Value) -> Result<usize, &'static str> {
    let bytes = size(value).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or(A_SIZE)
}

fn set_path(field: &mut Option<PathBuf>, value: &Value) -> Result<(), &'static str> {
    *field = Some(value.as_str().ok_or(A_PATH)?.into());
    Ok(())
}

fn stripes(value: &Value) -> Option<BTreeMap<u32, PathBuf>> {
    let folders = value.as_object()?.iter();
    let folders = folders.map(|(stripe, folder)| {
        let stripe = stripe.parse().ok()?;
        Some((stripe, folder.as_str()?.into()))
    });
    folders.collect()
}

fn columns(value: &Value) -> Option<Columns> {
    if value == "all" {
        return Some(Columns::All);
    }
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let range = |value: &Value| match value.as_array()?.as_slice() {
        [start, end] => Some(number(start)?..number(end)?),
        _ => None,
    };
    let Some(fields) = value.as_object() else {
        return range(value).map(Columns::Range);
    };
    if let (Some(rank), Some(ranks), 2) = (fields.get("rank"), fields.get("ranks"), fields.len()) {
        let (rank, ranks) = (number(rank)?, number(ranks)?);
        return Some(Columns::Rank { rank, ranks });
    }
    let layers = fields
        .iter()
        .map(|(layer, columns)| Some((layer.parse().ok()?, range(columns)?)));
    layers.collect::<Option<_>>().map(Columns::Layers)
}

fn resident(value: &Value) -> Option<Resident> {
    if value == "none" {
        return Some(Resident::None);
    }
    let fields = value.as_object()?;
    let mut fields = fields.iter();
    let (Some((name, value)), None) = (fields.next(), fields.next()) else {
        return None;
    };
    match name.as_str() {
        "orders" => Some(Resident::Orders(u32::try_from(value.as_u64()?).ok()?)),
        "bytes" => Some(Resident::Bytes(size(value)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_read() {
        let config = Config::from_json(
            r#"{
                "reader": "direct_threads", "check_seals": false, "checkpoint": "a", "resident": {"orders": 2},
                "stripes": {"1": "s"}, "columns": {"rank": 1, "ranks": 2},
                "resident_folder": "b", "cache_bytes": "3 GiB", "cache_folder": "c", "profile": "d",
                "io_threads": 2, "io_depth": 64, "gather_threads": 0, "pool_bytes": 4096
            }"#,
        )
        .unwrap();
        let expected = Config {
            reader: Reader::DirectThreads,
            check_seals: false,
            checkpoint: Some("a".into()),
            stripes: [(1, "s".into())].into(),
            columns: Columns::Rank { rank: 1, ranks: 2 },
            resident: Resident::Orders(2),
            resident_folder: Some("b".into()),
            cache_bytes: Some(3 << 30),
            cache_folder: Some("c".into()),
            profile: Some("d".into()),
            io_threads: 2,
            io_depth: 64,
            gather_threads: Some(0),
            pool_bytes: 4_096,
            ..Config::new()
        };
        assert_eq!(format!("{config:?}"), format!("{expected:?}"));
        let nothing = Config::from_json("{}").unwrap();
        assert_eq!(format!("{nothing:?}"), format!("{:?}", Config::new()));
    }

    #[test]
    fn every_field_has_a_variable() {
        let variables = [
            ("ENGRAM_READER", "pread"),
            ("ENGRAM_CHECK_SEALS", "false"),
            ("ENGRAM_CHECKPOINT", "7"),
            ("ENGRAM_STRIPES", r#"{"1": "s"}"#),
            ("ENGRAM_COLUMNS", r#"{"rank": 1, "ranks": 2}"#),
            ("ENGRAM_RESIDENT", r#"{"bytes": "1 KiB"}"#),
            ("ENGRAM_RESIDENT_FOLDER", "b c"),
            ("ENGRAM_CACHE_BYTES", "3 GiB"),
            ("ENGRAM_CACHE_FOLDER", "c"),
            ("ENGRAM_PROFILE", "d"),
            ("ENGRAM_IO_THREADS", "2"),
            ("ENGRAM_IO_DEPTH", "64"),
            ("ENGRAM_GATHER_THREADS", "0"),
            ("ENGRAM_POOL_BYTES", "4096"),
        ];
        assert_eq!(variables.len(), FIELDS.len());
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let config = Config::from_variables(find).unwrap();
        let expected = Config {
            reader: Reader::Pread,
            check_seals: false,
            checkpoint: Some("7".into()),
            stripes: [(1, "s".into())].into(),
            columns: Columns::Rank { rank: 1, ranks: 2 },
            resident: Resident::Bytes(1 << 10),
            resident_folder: Some("b c".into()),
            cache_bytes: Some(3 << 30),
            cache_folder: Some("c".into()),
            profile: Some("d".into()),
            io_threads: 2,
            io_depth: 64,
            gather_threads: Some(0),
            pool_bytes: 4_096,
            ..Config::new()
        };
        assert_eq!(format!("{config:?}"), format!("{expected:?}"));
        let over = config.with_json(r#"{"reader": "mmap"}"#).unwrap();
        assert_eq!((over.reader, over.io_depth), (Reader::Mmap, 64));
        let nothing = Config::from_variables(|_| None).unwrap();
        assert_eq!(format!("{nothing:?}"), format!("{:?}", Config::new()));
    }

    #[test]
    fn a_variable_that_cannot_be_read_is_named() {
        for value in ["", "0", "deep"] {
            let find = |name: &str| (name == "ENGRAM_IO_DEPTH").then(|| value.into());
            let error = Config::from_variables(find).unwrap_err().to_string();
            let expected = format!(
                "the settings: `ENGRAM_IO_DEPTH` is {value}, expected a whole number from 1 to 65535"
            );
            assert_eq!(error, expected);
        }
        let find = |name: &str| (name == "ENGRAM_READER").then(|| "tape".into());
        assert!(Config::from_variables(find).is_err());
    }

    #[test]
    fn every_name_and_unit_is_known() {
        for (name, reader) in READERS {
            let config = Config::from_json(&format!(r#"{{"reader": "{name}"}}"#));
            assert_eq!(config.unwrap().reader, reader);
        }
        for (text, bytes) in [
            ("7", Some(7)),
            ("\"7 B\"", Some(7)),
            ("\"7KiB\"", Some(7 << 10)),
            ("\"7 MiB\"", Some(7 << 20)),
            ("\"7 GiB\"", Some(7 << 30)),
            ("\"7 TiB\"", Some(7 << 40)),
            ("\"7\"", None),
            ("\"MiB\"", None),
            ("\"-7 MiB\"", None),
            ("\"7 MB\"", None),
            ("\"16777216 TiB\"", None),
            ("-7", None),
            ("0.5", None),
            ("null", None),
        ] {
            let config = Config::from_json(&format!(r#"{{"resident": {{"bytes": {text}}}}}"#));
            let resident = config.ok().map(|config| config.resident);
            assert_eq!(resident, bytes.map(Resident::Bytes), "{text}");
        }
    }

    #[test]
    fn columns_are_chosen_in_every_way() {
        for (text, columns) in [
            ("\"all\"", Columns::All),
            ("[2, 5]", Columns::Range(2..5)),
            (
                r#"{"ranks": 4, "rank": 3}"#,
                Columns::Rank { rank: 3, ranks: 4 },
            ),
            (
                r#"{"7": [0, 1]}"#,
                Columns::Layers([(engram_format::LayerId(7), 0..1)].into()),
            ),
        ] {
            let config = Config::from_json(&format!(r#"{{"columns": {text}}}"#));
            assert_eq!(config.unwrap().columns, columns, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let refused = |text: &str| Config::from_json(text).unwrap_err().to_string();
        assert!(refused("[]").starts_with("the settings are not a JSON object: "));
        assert!(refused("{").contains("line 1 column 1"));
        let unknown = refused(r#"{"cache": 1}"#);
        assert!(
            unknown.contains("unknown field `cache`; known are reader, check_seals,"),
            "{unknown}"
        );
        for (name, _) in FIELDS {
            let error = refused(&format!(r#"{{"{name}": [1]}}"#));
            let expected = format!("the settings: `{name}` is [1], expected ");
            assert!(error.starts_with(&expected), "{error}");
        }
        for text in [
            r#"{"reader": "tape"}"#,
            r#"{"io_depth": 0}"#,
            r#"{"io_depth": 65536}"#,
            r#"{"stripes": {"a": "/folder"}}"#,
            r#"{"columns": [1, 2, 3]}"#,
            r#"{"columns": {"rank": 1}}"#,
            r#"{"columns": {"rank": 1, "ranks": -1}}"#,
            r#"{"columns": {"one": [1, 2]}}"#,
            r#"{"stripes": {"0": 1}}"#,
            r#"{"resident": {}}"#,
            r#"{"resident": {"orders": 2, "bytes": 1}}"#,
            r#"{"resident": {"columns": 2}}"#,
        ] {
            assert!(refused(text).contains(", expected "), "{text}");
        }
    }
}
