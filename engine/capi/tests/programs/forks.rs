//! A forked process is told that a store is its parent's.

use engram_capi::engram_status;

use crate::harness::{LANGUAGES, Workshop, has, pack, run};

#[test]
fn forked_processes_are_told_and_leave_the_parent_alone() {
    for language in LANGUAGES.into_iter().filter(|language| has(language.1)) {
        let workshop = Workshop::new();
        let program = workshop.compile("tests/c/forks.c", language, &[]);
        for (reader, status) in [
            ("direct", engram_status::ENGRAM_FORKED),
            ("direct_threads", engram_status::ENGRAM_FORKED),
            ("mmap", engram_status::ENGRAM_OK),
        ] {
            let mut command = workshop.command(&program);
            command
                .arg(pack("deepseek"))
                .arg(format!(r#"{{"reader": "{reader}"}}"#))
                .arg((status as i32).to_string());
            run(&mut command);
        }
    }
}
