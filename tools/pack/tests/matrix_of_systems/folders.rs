//! Folders on all the file systems that can be made here, each with a checkpoint and packs of it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A folder that holds `checkpoint`, `pack` and `attached`.
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Whether nothing can be written there.
    pub(crate) read_only: bool,
    /// Whether reads may fail.
    pub(crate) broken: bool,
}

/// The mounts of a run, which end with it.
#[derive(Default)]
pub(crate) struct Mounts {
    mounted: Vec<PathBuf>,
    servers: Vec<Child>,
}

const IMAGE_BYTES: u64 = 48 << 20;
/// What the file systems in user space do otherwise than others, and whether that is only to refuse writes, or breaks
/// reads.
const FAULTS: [(&str, bool, bool); 13] = [
    ("plain", false, false),
    ("no-async-direct", false, false),
    ("direct-open-einval", false, false),
    ("direct-read-einval", false, false),
    ("direct-read-short", false, false),
    ("direct-read-eio", false, true),
    ("slow", false, false),
    ("no-locks", false, false),
    ("folder-sync-einval", false, false),
    ("folder-sync-enotsup", false, false),
    ("fallocate-einval", false, false),
    ("fallocate-eperm", false, false),
    ("read-only", true, false),
];

/// Makes the folders in `base` with the contents of `contents`.
pub(crate) fn make(base: &Path, contents: &Path, mounts: &mut Mounts) -> Vec<Folder> {
    let mut made = Vec::new();
    let mut add = |name: &str, read_only, broken, folder: Result<PathBuf, String>| match folder {
        Ok(path) => made.push(Folder {
            name: name.into(),
            path,
            read_only,
            broken,
        }),
        Err(why) => println!("skipped: {name}: {why}"),
    };
    add(
        "tmpfs",
        false,
        false,
        mounts.tmpfs(&base.join("tmpfs"), contents),
    );
    add(
        "overlay",
        false,
        false,
        mounts.overlay(&base.join("overlay"), contents),
    );
    for sector in ["512", "4096"] {
        let name = format!("ext4, sectors of {sector}");
        let folder = mounts.ext4(&base.join(format!("ext4-{sector}")), sector, contents);
        add(&name, false, false, folder);
    }
    add(
        "read-only mount",
        true,
        false,
        mounts.read_only(&base.join("read-only"), contents),
    );
    for (fault, read_only, broken) in FAULTS {
        let folder = mounts.fuse(&base.join(format!("fuse-{fault}")), fault, contents);
        add(&format!("fuse, {fault}"), read_only, broken, folder);
    }
    made
}

impl Mounts {
    /// Mounts a tmpfs at `folder`, which is made.
    pub(crate) fn bare_tmpfs(&mut self, folder: &Path) -> Result<(), String> {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        self.mount(folder, &["-t", "tmpfs", "-o", "mode=755,size=1g", "tmpfs"])
    }

    fn tmpfs(&mut self, folder: &Path, contents: &Path) -> Result<PathBuf, String> {
        self.bare_tmpfs(folder)?;
        copy(contents, folder)?;
        Ok(folder.into())
    }

    fn overlay(&mut self, folder: &Path, contents: &Path) -> Result<PathBuf, String> {
        let [lower, upper, work, merged] =
            ["lower", "upper", "work", "merged"].map(|name| folder.join(name));
        for folder in [&lower, &upper, &work, &merged] {
            fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        }
        copy(contents, &lower)?;
        let (lower, upper, work) = (lower.display(), upper.display(), work.display());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        self.mount(&merged, &["-t", "overlay", "-o", &options, "overlay"])?;
        Ok(merged)
    }

    fn ext4(&mut self, folder: &Path, sector: &str, contents: &Path) -> Result<PathBuf, String> {
        let (image, mounted) = (folder.join("image"), folder.join("mounted"));
        fs::create_dir_all(&mounted).map_err(|error| error.to_string())?;
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(IMAGE_BYTES)
            .map_err(|error| error.to_string())?;
        let image = image.to_str().unwrap();
        call(
            "mkfs.ext4",
            &["-q", "-F", "-b", "4096", "-O", "^has_journal", image],
        )?;
        let device = call(
            "losetup",
            &["--find", "--show", "--sector-size", sector, image],
        )?;
        let result = self.mount(&mounted, &["-t", "ext4", device.trim()]);
        // It goes with its mount.
        call("losetup", &["--detach", device.trim()])?;
        result?;
        copy(contents, &mounted)?;
        Ok(mounted)
    }

    fn read_only(&mut self, folder: &Path, contents: &Path) -> Result<PathBuf, String> {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        copy(contents, folder)?;
        self.mount(folder, &["--bind", folder.to_str().unwrap()])?;
        call(
            "mount",
            &["-o", "remount,bind,ro", folder.to_str().unwrap()],
        )?;
        Ok(folder.into())
    }

    fn fuse(&mut self, folder: &Path, fault: &str, contents: &Path) -> Result<PathBuf, String> {
        let [source, mounted] = ["source", "mounted"].map(|name| folder.join(name));
        for folder in [&source, &mounted] {
            fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        }
        copy(contents, &source)?;
        let mut server = Command::new(env::current_exe().unwrap());
        let server = server.arg("--serve").args([&source, &mounted]).arg(fault);
        let mut server = server
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let start = Instant::now();
        while !mounted.join("pack").exists() {
            if server.try_wait().is_ok_and(|ended| ended.is_some())
                || start.elapsed() > Duration::from_mins(1)
            {
                let _ = server.kill();
                return Err("it cannot be mounted".into());
            }
            sleep(Duration::from_millis(5));
        }
        self.servers.push(server);
        self.mounted.push(mounted.clone());
        Ok(mounted)
    }

    fn mount(&mut self, at: &Path, what: &[&str]) -> Result<(), String> {
        call("mount", &[what, &[at.to_str().unwrap()]].concat())?;
        self.mounted.push(at.into());
        Ok(())
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for mounted in self.mounted.iter().rev() {
            let _ = call("umount", &["--lazy", mounted.to_str().unwrap()]);
        }
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Copies what is in `from` to the folder `to`.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let all = format!("{}/.", from.display());
    call("cp", &["-r", &all, to.to_str().unwrap()]).map(drop)
}

/// Standard output of a program that must succeed.
fn call(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.trim().replace('\n', " / "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
