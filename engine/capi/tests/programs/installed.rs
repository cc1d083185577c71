//! What `install.sh` installs can be used by `pkg-config`, by `cmake`, and as a static library.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{STRICT, built, crate_folder, has, pack, run, text};

/// Installs the library that these tests are built with, below `folder`.
fn install(folder: &Path) -> PathBuf {
    let prefix = folder.join("prefix");
    let library = built("libengram_capi.so");
    let mut install = Command::new(crate_folder().join("install.sh"));
    run(install.arg(&prefix).arg(library.parent().unwrap()));
    prefix
}

/// What pkg-config says about the library in `prefix`.
fn pkg_config(prefix: &Path, args: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command
        .args(args)
        .arg("engram")
        .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
    text(&run(&mut command))
        .split_whitespace()
        .map(String::from)
        .collect()
}

fn look_up(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.arg(pack("deepseek")).args(["3", "10"]);
    command
}

#[test]
fn an_installed_library_can_be_used() {
    if !["gcc", "pkg-config"].into_iter().all(has) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let prefix = install(folder.path());
    let compile = |name: &str, flags: &[String]| {
        let program = folder.path().join(name);
        let source = crate_folder().join("examples/look_up.c");
        let mut gcc = Command::new("gcc");
        run(gcc
            .arg("-std=c11")
            .args(STRICT)
            .arg(source)
            .arg("-o")
            .arg(&program)
            .args(flags));
        program
    };
    assert_eq!(
        pkg_config(&prefix, &["--modversion"]),
        [env!("CARGO_PKG_VERSION")]
    );

    let shared = compile("shared", &pkg_config(&prefix, &["--cflags", "--libs"]));
    let by_shared = run(look_up(&shared).env("LD_LIBRARY_PATH", prefix.join("lib")));

    // One file, with nothing to be found when it runs but the system's own libraries.
    let mut flags = pkg_config(&prefix, &["--cflags", "--libs", "--static"]);
    flags
        .iter_mut()
        .filter(|flag| *flag == "-lengram")
        .for_each(|flag| *flag = "-l:libengram.a".into());
    let linked = compile("static", &flags);
    let by_static = run(&mut look_up(&linked));
    assert!(by_shared == by_static && !by_static.is_empty());
    let mut needed = Command::new("ldd");
    assert!(!text(&run(needed.arg(&linked))).contains("engram"));

    if has("cmake") {
        by_cmake(folder.path(), &prefix, &by_static);
    }
}

fn by_cmake(folder: &Path, prefix: &Path, expected: &[u8]) {
    let (source, build) = (folder.join("cmake"), folder.join("build"));
    fs::create_dir(&source).unwrap();
    fs::copy(
        crate_folder().join("examples/look_up.c"),
        source.join("look_up.c"),
    )
    .unwrap();
    let project = "cmake_minimum_required(VERSION 3.16)\n\
                   project(look_up C)\n\
                   find_package(engram 0.1.0 REQUIRED)\n\
                   add_executable(shared look_up.c)\n\
                   target_link_libraries(shared engram::engram)\n\
                   add_executable(static look_up.c)\n\
                   target_link_libraries(static engram::static)\n";
    fs::write(source.join("CMakeLists.txt"), project).unwrap();
    let mut prefix_is = std::ffi::OsString::from("-DCMAKE_PREFIX_PATH=");
    prefix_is.push(prefix);
    run(Command::new("cmake")
        .arg("-S")
        .arg(&source)
        .arg("-B")
        .arg(&build)
        .arg(prefix_is));
    run(Command::new("cmake").arg("--build").arg(&build));
    for program in ["shared", "static"] {
        assert!(
            run(&mut look_up(build.join(program))) == expected,
            "{program}"
        );
    }
}
