//! Compilers, the library as it is installed, and programs against it.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// Flags with which every program here has to compile.
pub(crate) const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-pedantic"];

/// The frozen packs.
pub(crate) const PACKS: [&str; 8] = [
    "deepseek",
    "demo",
    "gemma",
    "long-rows",
    "longcat",
    "longcat-2",
    "over-encoding",
    "qwen",
];

/// A language, its compiler and its standard.
pub(crate) type Language = (&'static str, &'static str, &'static str);

pub(crate) const LANGUAGES: [Language; 2] =
    [("c", "gcc", "-std=c11"), ("c++", "g++", "-std=c++17")];

/// Whether `program` can be run. Says so if it cannot.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no {program}");
    }
    found
}

pub(crate) fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn pack(name: &str) -> PathBuf {
    crate_folder().join("../../format-spec/vectors").join(name)
}

/// The library that cargo has built beside this test.
pub(crate) fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().join(name);
    assert!(path.exists(), "{} should have been built", path.display());
    path
}

/// A folder with the library under the names that it has when it is installed, and programs.
pub(crate) struct Workshop {
    pub(crate) folder: TempDir,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = built("libengram_capi.so");
        let versioned = format!("libengram.so.{}", engram_capi::ENGRAM_ABI);
        symlink(&library, folder.path().join(versioned)).unwrap();
        symlink(&library, folder.path().join("libengram.so")).unwrap();
        let archive = built("libengram_capi.a");
        fs::create_dir(folder.path().join("static")).unwrap();
        symlink(&archive, folder.path().join("static/libengram.a")).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Compiles `source`, a path in this crate, in `language`.
    pub(crate) fn compile(
        &self,
        source: &str,
        (language, compiler, standard): Language,
        more: &[&str],
    ) -> PathBuf {
        let name = Path::new(source).file_stem().unwrap().to_str().unwrap();
        let program = self.path().join(format!("{name}-{compiler}"));
        let output = Command::new(compiler)
            .args(["-x", language, standard, "-g"])
            .args(STRICT)
            .arg("-I")
            .arg(crate_folder().join("include"))
            .arg(crate_folder().join(source))
            .arg("-o")
            .arg(&program)
            .arg("-L")
            .arg(self.path())
            .arg("-lengram")
            .args(more)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{source} by {compiler}: {}",
            text(&output.stderr)
        );
        program
    }

    /// `program`, to be run with the library.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", self.path());
        command
    }
}

/// What a program printed that has ended well.
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    output.stdout
}

/// All that a program has said.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{} {} {}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Copies a pack, to be spoiled.
pub(crate) fn copy_pack(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let copy = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_pack(&entry.path(), &copy);
        } else {
            fs::copy(entry.path(), copy).unwrap();
        }
    }
}
