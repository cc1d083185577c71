//! The `engram-bench` command.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    engram_bench::main()
}
