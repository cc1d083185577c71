//! The drive and the file system that a folder lies on.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{major, minor};
use serde::{Deserialize, Serialize};

/// A file system and its drive, as far as the system tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Drive {
    /// Type of the file system, such as `ext4`; null if unknown.
    pub file_system: Option<String>,
    /// Where that is mounted; null if unknown.
    pub mount_point: Option<String>,
    /// Block device, such as `nvme0n1`; null where there is none, as with memory and network file systems.
    pub device: Option<String>,
    /// Model of the drive; null if unknown.
    pub model: Option<String>,
    /// Whether it has turning disks; null if unknown. Virtual drives may say so and have none.
    pub rotational: Option<bool>,
}

impl Drive {
    /// That of the file or folder at `path`.
    pub fn of(path: &Path) -> Self {
        let device = fs::metadata(path).map(|metadata| metadata.dev()).ok();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let path = fs::canonicalize(path).unwrap_or(path.into());
        let mount = device.and_then(|device| Mount::find(&mounts, device, &path));
        // Some file systems have a number of their own, and name the device that they lie on.
        let source = mount.as_ref().and_then(|mount| {
            let source = fs::metadata(&mount.source).ok()?;
            Some(source.rdev()).filter(|device| *device != 0)
        });
        let block = source
            .or(device)
            .and_then(|device| Block::find(Path::new("/sys"), device));
        let (file_system, mount_point) =
            mount.map(|mount| (mount.file_system, mount.point)).unzip();
        Self {
            file_system,
            mount_point,
            device: block.as_ref().map(|block| block.name.clone()),
            model: block.as_ref().and_then(|block| block.read("device/model")),
            rotational: block
                .and_then(|block| block.read("queue/rotational"))
                .map(|text| text == "1"),
        }
    }
}

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: String,
    file_system: String,
    source: String,
}

impl Mount {
    /// The mount of the file at `path` on the device with that number, the last of several: it hides the others.
    fn find(mounts: &str, device: u64, path: &Path) -> Option<Self> {
        let wanted = format!("{}:{}", major(device), minor(device));
        let mounts = mounts.lines().filter_map(|line| {
            let (place, system) = line.split_once(" - ")?;
            let mut place = place.split(' ').skip(2);
            let (number, point) = (place.next()?, place.nth(1)?.replace("\\040", " "));
            let mut system = system.split(' ');
            let mount = Self {
                file_system: system.next()?.into(),
                source: system.next()?.into(),
                point,
            };
            (number == wanted && path.starts_with(&mount.point)).then_some(mount)
        });
        mounts.max_by_key(|mount| mount.point.len())
    }
}

/// A drive's folder in `/sys`.
struct Block {
    name: String,
    folder: PathBuf,
}

impl Block {
    /// That of the device with that number, or of the drive whose partition it is.
    fn find(sys: &Path, device: u64) -> Option<Self> {
        let link = format!("dev/block/{}:{}", major(device), minor(device));
        let mut folder = fs::canonicalize(sys.join(link)).ok()?;
        if folder.join("partition").exists() {
            folder.pop();
        }
        let name = folder.file_name()?.to_str()?.to_owned();
        Some(Self { name, folder })
    }

    fn read(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.folder.join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::makedev;

    use super::*;

    const MOUNTS: &str = "\
        22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        41 22 8:1 /data /srv/my\\040data rw master:2 - ext4 /dev/sda1 rw\n\
        42 22 0:31 / /tmp rw - tmpfs tmpfs rw\n";

    #[test]
    fn the_nearest_mount_of_the_device_is_found() {
        let find = |device, path: &str| {
            let found = Mount::find(MOUNTS, device, Path::new(path))?;
            Some((found.point, found.file_system))
        };
        let [root, data, memory] = [
            find(makedev(8, 1), "/home/pack"),
            find(makedev(8, 1), "/srv/my data/pack"),
            find(makedev(0, 31), "/tmp/pack"),
        ];
        assert_eq!(root, Some(("/".into(), "ext4".into())));
        assert_eq!(data, Some(("/srv/my data".into(), "ext4".into())));
        assert_eq!(memory, Some(("/tmp".into(), "tmpfs".into())));
        assert_eq!(find(makedev(9, 9), "/home"), None);
    }

    #[test]
    fn a_partition_is_of_its_drive() {
        let sys = tempfile::tempdir().unwrap();
        let drive = sys.path().join("devices/nvme0n1");
        fs::create_dir_all(drive.join("nvme0n1p2")).unwrap();
        fs::create_dir_all(drive.join("queue")).unwrap();
        fs::create_dir_all(drive.join("device")).unwrap();
        fs::write(drive.join("nvme0n1p2/partition"), "2\n").unwrap();
        fs::write(drive.join("queue/rotational"), "0\n").unwrap();
        fs::write(drive.join("device/model"), "SSD 990\n").unwrap();
        let links = sys.path().join("dev/block");
        fs::create_dir_all(&links).unwrap();
        std::os::unix::fs::symlink(drive.join("nvme0n1p2"), links.join("259:3")).unwrap();
        let block = Block::find(sys.path(), makedev(259, 3)).unwrap();
        assert_eq!(block.name, "nvme0n1");
        assert_eq!(block.read("device/model").as_deref(), Some("SSD 990"));
        assert_eq!(block.read("queue/rotational").as_deref(), Some("0"));
        assert_eq!(block.read("missing"), None);
    }

    #[test]
    fn a_folder_has_a_file_system() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Drive::of(folder.path()).file_system.is_some());
        assert_eq!(Drive::of(&folder.path().join("missing")).device, None);
    }
}
