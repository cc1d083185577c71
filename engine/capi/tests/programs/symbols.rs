//! The library exports what `symbols.txt` lists, and nothing else.

use std::{env, fs, process::Command};

use crate::harness::{built, crate_folder, has, run, text};

#[test]
fn exported_symbols_are_those_of_the_list() {
    if !has("nm") {
        return;
    }
    let mut nm = Command::new("nm");
    nm.args(["-D", "--defined-only", "--format=just-symbols"])
        .arg(built("libengram_capi.so"));
    let mut found: Vec<String> = text(&run(&mut nm))
        .lines()
        .map(|line| line.to_owned() + "\n")
        .collect();
    found.sort_unstable();
    let found = found.concat();
    let path = crate_folder().join("symbols.txt");
    if env::var_os("ENGRAM_BLESS").is_some() {
        fs::write(&path, &found).unwrap();
    }
    assert_eq!(
        found,
        fs::read_to_string(path).unwrap(),
        "a symbol that has gone or changed needs a new ENGRAM_ABI; then write the list anew with ENGRAM_BLESS=1"
    );
}
