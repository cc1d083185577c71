//! Typed access to the fields of a `config.json`.

use std::{cell::RefCell, collections::BTreeSet, path::Path};

use serde_json::{Map, Value};

use crate::{
    error::{CheckpointError, ConfigField},
    json::as_written,
};

/// Where models of several parts have the fields of their language model.
const TEXT_CONFIG: &str = "text_config";
const ROOT: &str = "the root";
/// What a configuration says of how tensors are stored. Its keys name modules, and the tensors tell the rest.
const STORAGE: [&str; 3] = ["quantization_config", "quantization", "compression_config"];
/// Parts of a name, between underscores, that only N-gram memory tables have.
const FAMILY_WORDS: [&str; 6] = ["engram", "engrams", "ngram", "ngrams", "oe", "ple"];
/// The same for longer parts of a name.
const FAMILY_PARTS: [&str; 3] = ["n_gram", "over_embedding", "over_encoding"];

/// The fields of a configuration.
///
/// Those of the tables stand at one level, in `text_config` or at the root. A field is read from both, and refused if
/// they contradict each other. [`Self::check_all_known`] refuses fields of tables that nothing has asked for: rows may
/// depend on them.
pub(super) struct Fields<'a> {
    path: &'a Path,
    root: &'a Value,
    /// The level of the tables' fields, then the other one where there are two.
    levels: Vec<(&'static str, &'a Value)>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(path: &'a Path, json: &'a Value) -> Self {
        let text = json.get(TEXT_CONFIG).map(|text| (TEXT_CONFIG, text));
        Self {
            path,
            root: json,
            levels: text.into_iter().chain([(ROOT, json)]).collect(),
            asked: RefCell::default(),
        }
    }

    /// The fields of a family that has one of `markers` among its fields, if this is its configuration.
    pub(super) fn of_family(&self, markers: &[&str]) -> Option<Self> {
        let has_one = |object| markers.iter().any(|name| present(object, name).is_some());
        let own = self.levels.iter().position(|(_, object)| has_one(object))?;
        let mut fields = Self::new(self.path, self.root);
        fields.levels.swap(0, own);
        Some(fields)
    }

    /// The value of the field `name`, read by `read`.
    pub(super) fn value<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(Value) -> Result<T, serde_json::Error>,
        expected: &str,
    ) -> Result<T, CheckpointError> {
        self.asked.borrow_mut().insert(name);
        let value = present(self.levels[0].1, name).cloned();
        let value = value.ok_or_else(|| self.fault(name, "missing", expected))?;
        read(value).map_err(|error| self.fault(name, error, expected))
    }

    /// What the levels call the model.
    pub(super) fn model_types(&self) -> impl Iterator<Item = &'a str> {
        let levels = self.levels.iter();
        levels.filter_map(|(_, object)| object.get("model_type")?.as_str())
    }

    /// Names of all fields of tables, whatever their level.
    pub(super) fn of_tables(&self) -> Vec<String> {
        let mut found = Vec::new();
        visit(self.root, ROOT, &mut |_, key, _| {
            if is_of_tables(key) {
                found.push(key.to_owned());
            }
            Ok::<_, ()>(())
        })
        .ok();
        found
    }

    pub(super) fn fault(
        &self,
        field: &str,
        found: impl ToString,
        expected: &str,
    ) -> CheckpointError {
        CheckpointError::Config {
            path: self.path.into(),
            field: field.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    /// The value of the field that has one of `names`, as a `T`. A `null` counts as missing.
    ///
    /// # Errors
    /// A value that is no `T`, or several that differ.
    pub(super) fn optional<T: FieldValue>(
        &self,
        names: &[&'static str],
    ) -> Result<Option<T>, CheckpointError> {
        self.asked.borrow_mut().extend(names);
        let mut first: Option<(T, ConfigField)> = None;
        for &(level, object) in &self.levels {
            for &name in names {
                let Some(value) = present(object, name) else {
                    continue;
                };
                let field = ConfigField {
                    name: name.into(),
                    level: level.into(),
                    value: as_written(value),
                };
                let read =
                    T::read(value).ok_or_else(|| self.fault(name, &field.value, T::EXPECTED))?;
                match &first {
                    None => first = Some((read, field)),
                    Some((known, _)) if *known == read => {}
                    Some((_, known)) => {
                        return Err(CheckpointError::Contradiction {
                            path: self.path.into(),
                            fields: Box::new([known.clone(), field]),
                        });
                    }
                }
            }
        }
        Ok(first.map(|(read, _)| read))
    }

    pub(super) fn required<T: FieldValue>(
        &self,
        names: &[&'static str],
    ) -> Result<T, CheckpointError> {
        self.optional(names)?
            .ok_or_else(|| self.fault(names[0], "missing", T::EXPECTED))
    }

    /// As [`Self::optional`], or `default`. The model's library reads such a field from its own level alone, so a
    /// value at the other one must be the same.
    pub(super) fn or_default<T: FieldValue>(
        &self,
        name: &'static str,
        default: T,
    ) -> Result<T, CheckpointError> {
        let Some(read) = self.optional(&[name])? else {
            return Ok(default);
        };
        if present(self.levels[0].1, name).is_none() && read != default {
            return Err(self.misplaced(name, self.levels[1].0));
        }
        Ok(read)
    }

    /// Refuses fields of tables that have not been asked for, or are at another level than the rest. `prefixes` begin
    /// further names of the family.
    pub(super) fn check_all_known(&self, prefixes: &[&str]) -> Result<(), CheckpointError> {
        let asked = self.asked.borrow();
        let (own_level, own) = self.levels[0];
        let other_level = self.levels.get(1).map(|(level, _)| *level);
        visit(self.root, ROOT, &mut |level, key, _| {
            let has_prefix = prefixes.iter().any(|prefix| key.starts_with(prefix));
            let is_of_model = level == own_level || Some(level) == other_level;
            let is_of_family = is_of_tables(key) || (has_prefix && is_of_model);
            if !is_of_family || (level == own_level && asked.contains(key)) {
                return Ok(());
            }
            if asked.contains(key) && Some(level) == other_level {
                // Both levels have been read, and they agree.
                return match present(own, key) {
                    Some(_) => Ok(()),
                    None => Err(self.misplaced(key, level)),
                };
            }
            Err(CheckpointError::UnknownField {
                path: self.path.into(),
                field: key.into(),
                level: level.into(),
            })
        })
    }

    fn misplaced(&self, field: &str, level: &str) -> CheckpointError {
        CheckpointError::MisplacedField {
            path: self.path.into(),
            field: field.into(),
            level: level.into(),
            expected: self.levels[0].0.into(),
        }
    }
}

/// The value of `name` in `object`, unless it is `null`.
fn present<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// Whether a field of this name can only be about N-gram memory tables.
fn is_of_tables(key: &str) -> bool {
    let key = key.to_lowercase();
    FAMILY_PARTS.iter().any(|part| key.contains(part))
        || key
            .split(['_', '-'])
            .any(|word| FAMILY_WORDS.contains(&word))
}

/// Calls `each` with the level, the name and the value of every field that has one, as deep as they are.
fn visit<E>(
    value: &Value,
    level: &str,
    each: &mut impl FnMut(&str, &str, &Value) -> Result<(), E>,
) -> Result<(), E> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| visit(item, level, each)),
        Value::Object(object) => visit_object(object, level, each),
        _ => Ok(()),
    }
}

fn visit_object<E>(
    object: &Map<String, Value>,
    level: &str,
    each: &mut impl FnMut(&str, &str, &Value) -> Result<(), E>,
) -> Result<(), E> {
    for (key, value) in object {
        // A dot is in the path of a module, which is no field.
        if value.is_null() || key.contains('.') {
            continue;
        }
        each(level, key, value)?;
        if !STORAGE.contains(&key.as_str()) {
            let inner = match level {
                ROOT => key.clone(),
                level => format!("{level}.{key}"),
            };
            visit(value, &inner, each)?;
        }
    }
    Ok(())
}

/// A type that a field's value is read as.
pub(super) trait FieldValue: Sized + PartialEq {
    const EXPECTED: &'static str;
    fn read(value: &Value) -> Option<Self>;
}

impl FieldValue for u64 {
    const EXPECTED: &'static str = "a whole number";

    fn read(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl FieldValue for u32 {
    const EXPECTED: &'static str = "a whole number below 2^32";

    fn read(value: &Value) -> Option<Self> {
        Self::try_from(value.as_u64()?).ok()
    }
}

impl FieldValue for f64 {
    const EXPECTED: &'static str = "a number";

    fn read(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}

impl<T: FieldValue> FieldValue for Vec<T> {
    const EXPECTED: &'static str = "a list of whole numbers";

    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::read).collect()
    }
}

impl FieldValue for String {
    const EXPECTED: &'static str = "a text";

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(Into::into)
    }
}

impl FieldValue for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(value: &Value) -> Option<Self> {
        match value.as_u64() {
            Some(number) => (number <= 1).then_some(number == 1),
            None => value.as_bool(),
        }
    }
}

/// Token ids that are written as a list, or as a number where there is one.
#[derive(PartialEq)]
pub(super) struct TokenIds(pub(super) Vec<u32>);

impl FieldValue for TokenIds {
    const EXPECTED: &'static str = "a token id below 2^32, or a list of some";

    fn read(value: &Value) -> Option<Self> {
        match u32::read(value) {
            Some(id) => Some(Self(vec![id])),
            None => Vec::read(value).filter(|ids| !ids.is_empty()).map(Self),
        }
    }
}

/// The first of such token ids.
#[derive(PartialEq)]
pub(super) struct FirstTokenId(pub(super) u32);

impl FieldValue for FirstTokenId {
    const EXPECTED: &'static str = TokenIds::EXPECTED;

    fn read(value: &Value) -> Option<Self> {
        TokenIds::read(value).map(|ids| Self(ids.0[0]))
    }
}
