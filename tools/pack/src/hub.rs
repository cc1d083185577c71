//! Models of the Hugging Face hub, as its own tools keep them on a machine.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use engram_checkpoint::{CONFIG_FILE, table_files};

/// The revision that is meant where none is said.
const MAIN: &str = "main";

/// A model by its name on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    organisation: String,
    name: String,
    /// A branch, a tag or a commit.
    revision: Option<String>,
}

impl Model {
    /// Reads `ORGANISATION/MODEL[@REVISION]`; none if `text` is something else.
    pub(crate) fn parse(text: &Path) -> Option<Self> {
        let text = text.to_str()?;
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (text, None),
        };
        let (organisation, name) = id.split_once('/')?;
        let is_name = |name: &&str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !name.is_empty() && name.chars().all(known) && !name.starts_with('.')
        };
        // Branches may have slashes.
        let is_revision = |revision: &&str| revision.split('/').all(|part| is_name(&part));
        let is_valid =
            [organisation, name].iter().all(is_name) && revision.as_ref().is_none_or(is_revision);
        is_valid.then(|| Self {
            organisation: organisation.into(),
            name: name.into(),
            revision: revision.map(Into::into),
        })
    }

    /// The folder of its files in the cache of this user.
    ///
    /// # Errors
    /// A model, or a revision of it, that has not been downloaded.
    pub(crate) fn find(&self) -> Result<PathBuf> {
        let Some(cache) = cache(|name| env::var_os(name).map(PathBuf::from)) else {
            bail!(
                "{self} is no folder, and neither HF_HOME nor HOME says where downloaded models lie"
            );
        };
        if let Some(folder) = self.find_in(&cache) {
            return Ok(folder);
        }
        bail!(
            "{self} is no folder, and no model in {}; download what says where its tables are by `{}`, then run this \
             again",
            cache.display(),
            self.download([
                "config.json",
                "tokenizer.json",
                "model.safetensors.index.json"
            ])
        )
    }

    fn find_in(&self, cache: &Path) -> Option<PathBuf> {
        let model = cache.join(format!("models--{}--{}", self.organisation, self.name));
        let revision = self.revision.as_deref().unwrap_or(MAIN);
        let snapshot = |commit: &str| Some(model.join("snapshots").join(commit));
        let named = fs::read_to_string(model.join("refs").join(revision));
        let folder = named.map_or_else(|_| snapshot(revision), |commit| snapshot(commit.trim()));
        folder.filter(|folder| folder.is_dir())
    }

    /// How to download what is missing in `folder`, where this model was found, if anything is.
    pub(crate) fn advice(&self, folder: &Path, tokenizer: Option<&Path>) -> Option<String> {
        let missing = |name: &String| !folder.join(name).exists();
        let mut files: Vec<String> = [CONFIG_FILE.to_owned()]
            .into_iter()
            .filter(missing)
            .collect();
        if files.is_empty() {
            let of_tables = table_files(folder, tokenizer).ok()?;
            files.extend(of_tables.into_iter().filter(missing));
        }
        let download = self.download(files.iter().map(String::as_str));
        (!files.is_empty())
            .then(|| format!("not all of {self} is here; download the rest by `{download}`"))
    }

    /// The command line that downloads `files`.
    fn download<'a>(&self, files: impl IntoIterator<Item = &'a str>) -> String {
        let mut command = format!("hf download {}/{}", self.organisation, self.name);
        for file in files {
            command = command + " " + file;
        }
        match &self.revision {
            Some(revision) => command + " --revision " + revision,
            None => command,
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organisation, self.name)?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

/// Where downloaded models lie, by the variables that the hub's own tools ask, in their order.
fn cache(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|path| !path.as_os_str().is_empty());
    let home = || set("HOME").map(|home| home.join(".cache"));
    set("HF_HUB_CACHE")
        .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(set("HF_HOME")?.join("hub")))
        .or_else(|| Some(set("XDG_CACHE_HOME").or_else(home)?.join("huggingface/hub")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_hub_are_told_from_paths() {
        let parsed = |text: &str| Model::parse(Path::new(text)).map(|model| model.to_string());
        for name in ["org/Model-1.5", "org/model@v1", "org/model@refs/pr/2"] {
            assert_eq!(parsed(name).as_deref(), Some(name));
        }
        for path in [
            "model",
            "/org/model",
            "a/b/c",
            "./model",
            "../m",
            "org/",
            "org/m@",
            "org/m@a/../b",
        ] {
            assert_eq!(parsed(path), None, "{path}");
        }
    }

    #[test]
    fn the_cache_is_where_the_hubs_tools_look() {
        let found = |set: &[(&str, &str)]| {
            let variable = |name: &str| {
                let (_, value) = set.iter().find(|(known, _)| *known == name)?;
                Some(PathBuf::from(value))
            };
            cache(variable).map(|path| path.to_str().unwrap().to_owned())
        };
        let all = [
            ("HF_HUB_CACHE", "/a"),
            ("HUGGINGFACE_HUB_CACHE", "/b"),
            ("HF_HOME", "/c"),
            ("XDG_CACHE_HOME", "/d"),
            ("HOME", "/e"),
        ];
        let expected = [
            "/a",
            "/b",
            "/c/hub",
            "/d/huggingface/hub",
            "/e/.cache/huggingface/hub",
        ];
        for (first, expected) in expected.iter().enumerate() {
            assert_eq!(found(&all[first..]).as_deref(), Some(*expected));
        }
        assert_eq!(found(&[("HF_HOME", "")]), None);
    }

    #[test]
    fn revisions_are_commits_or_names_of_them() {
        let cache = tempfile::tempdir().unwrap();
        let model = cache.path().join("models--org--model");
        fs::create_dir_all(model.join("snapshots/0f3a")).unwrap();
        fs::create_dir_all(model.join("refs")).unwrap();
        fs::write(model.join("refs/main"), "0f3a").unwrap();
        fs::write(model.join("refs/v2"), "beef").unwrap();
        let find = |text: &str| {
            let found = Model::parse(Path::new(text)).unwrap().find_in(cache.path());
            found.is_some_and(|folder| folder == model.join("snapshots/0f3a"))
        };
        assert!(find("org/model") && find("org/model@main") && find("org/model@0f3a"));
        // A name whose commit has not been downloaded, and others.
        assert!(!find("org/model@v2") && !find("org/model@beef") && !find("org/other"));
    }
}
