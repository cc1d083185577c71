//! Puts refusals and limits on this process, then becomes the command that follows.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use rustix::process::{
    Resource, Rlimit, Signal, getpid, set_parent_process_death_signal, setrlimit,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Runs `NAME=VALUE ... -- PROGRAM ARGS`.
pub(crate) fn run(args: &[&str]) -> ExitCode {
    let mut parts = args.splitn(2, |&arg| arg == "--");
    let (conditions, command) = (parts.next().unwrap(), parts.next().unwrap());
    // A test that ends early leaves no process behind.
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let mut program = Command::new(command[0]);
    program.args(&command[1..]);
    let mut refused = Vec::new();
    for condition in conditions {
        let (name, value) = condition.split_once('=').unwrap();
        let limit = |resource| {
            let most = Some(value.parse().unwrap());
            setrlimit(
                resource,
                Rlimit {
                    current: most,
                    maximum: most,
                },
            )
            .unwrap();
        };
        match name {
            "nofile" => limit(Resource::Nofile),
            "nproc" => limit(Resource::Nproc),
            "as" => limit(Resource::As),
            "fsize" => limit(Resource::Fsize),
            "memlock" => limit(Resource::Memlock),
            "uid" => {
                let id = value.parse().unwrap();
                program.uid(id).gid(id);
            }
            "cgroup" => {
                let own = getpid().as_raw_nonzero().to_string();
                fs::write(format!("{value}/cgroup.procs"), own).unwrap();
            }
            call => refused.push((call, value)),
        }
    }
    for (call, answer) in refused {
        refuse(call, answer);
    }
    let error = program.exec();
    eprintln!("error: cannot start the program: {error}");
    ExitCode::FAILURE
}

/// Lets the system answer `answer` to `call` from now on.
fn refuse(call: &str, answer: &str) {
    let rules = if call == "openat-direct" {
        let direct = u64::try_from(libc::O_DIRECT).unwrap();
        let op = SeccompCmpOp::MaskedEq(direct);
        let flags = SeccompCondition::new(2, SeccompCmpArgLen::Dword, op, direct).unwrap();
        vec![SeccompRule::new(vec![flags]).unwrap()]
    } else {
        Vec::new()
    };
    let filter = SeccompFilter::new(
        BTreeMap::from([(number_of(call), rules)]),
        SeccompAction::Allow,
        SeccompAction::Errno(u32::try_from(errno(answer)).unwrap()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

fn number_of(call: &str) -> libc::c_long {
    match call {
        "clone3" => libc::SYS_clone3,
        "copy_file_range" => libc::SYS_copy_file_range,
        "eventfd2" => libc::SYS_eventfd2,
        "fadvise64" => libc::SYS_fadvise64,
        "fallocate" => libc::SYS_fallocate,
        "flock" => libc::SYS_flock,
        "fstatfs" => libc::SYS_fstatfs,
        "fsync" => libc::SYS_fsync,
        "ftruncate" => libc::SYS_ftruncate,
        "getdents64" => libc::SYS_getdents64,
        "getrandom" => libc::SYS_getrandom,
        "io_uring_enter" => libc::SYS_io_uring_enter,
        "io_uring_register" => libc::SYS_io_uring_register,
        "io_uring_setup" => libc::SYS_io_uring_setup,
        "madvise" => libc::SYS_madvise,
        "mlock" => libc::SYS_mlock,
        "openat-direct" => libc::SYS_openat,
        "preadv" => libc::SYS_preadv,
        "prlimit64" => libc::SYS_prlimit64,
        "pwrite64" => libc::SYS_pwrite64,
        "renameat2" => libc::SYS_renameat2,
        "sched_getaffinity" => libc::SYS_sched_getaffinity,
        "statx" => libc::SYS_statx,
        "sync_file_range" => libc::SYS_sync_file_range,
        #[cfg(target_arch = "x86_64")]
        "mkdir" => libc::SYS_mkdir,
        #[cfg(target_arch = "x86_64")]
        "readlink" => libc::SYS_readlink,
        #[cfg(target_arch = "x86_64")]
        "rename" => libc::SYS_rename,
        #[cfg(target_arch = "x86_64")]
        "unlink" => libc::SYS_unlink,
        #[cfg(not(target_arch = "x86_64"))]
        "mkdir" => libc::SYS_mkdirat,
        #[cfg(not(target_arch = "x86_64"))]
        "readlink" => libc::SYS_readlinkat,
        #[cfg(not(target_arch = "x86_64"))]
        "rename" => libc::SYS_renameat,
        #[cfg(not(target_arch = "x86_64"))]
        "unlink" => libc::SYS_unlinkat,
        other => panic!("{other} is no system call that is refused here"),
    }
}

fn errno(name: &str) -> i32 {
    match name {
        "EACCES" => libc::EACCES,
        "EDQUOT" => libc::EDQUOT,
        "EINVAL" => libc::EINVAL,
        "EIO" => libc::EIO,
        "ENOLCK" => libc::ENOLCK,
        "ENOMEM" => libc::ENOMEM,
        "ENOSPC" => libc::ENOSPC,
        "ENOSYS" => libc::ENOSYS,
        "EOPNOTSUPP" => libc::EOPNOTSUPP,
        "EPERM" => libc::EPERM,
        "EROFS" => libc::EROFS,
        other => panic!("{other} is no answer that is given here"),
    }
}
