//! How much memory this process may take: what the limits of its control groups and the machine leave.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The tightest limit of memory on this process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// All that may be taken.
    pub bytes: u64,
    /// What of it is free, or holds pages of files that the system can drop.
    pub available: u64,
}

impl MemoryLimit {
    /// That of the control groups of this process and those above them, or of the machine, now; none where the system
    /// tells nothing.
    pub fn now() -> Option<Self> {
        MemoryLimits::find().now()
    }

    /// The tighter of each.
    fn min(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.min(other.bytes),
            available: self.available.min(other.available),
        }
    }
}

/// Warns where a cache and resident columns of these sizes do not fit `limit`.
pub(super) fn warn_above(limit: Option<MemoryLimit>, cache_bytes: usize, resident_bytes: u64) {
    let Some(limit) = limit else {
        return;
    };
    if resident_bytes.saturating_add(cache_bytes as u64) > limit.available {
        let (limit_bytes, available_bytes) = (limit.bytes, limit.available);
        tracing::warn!(
            cache_bytes,
            resident_bytes,
            limit_bytes,
            available_bytes,
            "the cache and the resident columns are larger than the memory that this process may still take; \
             the system may end it"
        );
    }
}

/// Where the limits of this process are told.
#[derive(Debug, Clone)]
pub(super) struct MemoryLimits {
    /// The root of the file system.
    root: PathBuf,
    groups: Vec<Group>,
}

/// The folder of a control group: of this process, or one above that limits it too.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    hierarchy: Hierarchy,
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hierarchy {
    /// One for each resource.
    V1,
    /// One for all.
    V2,
}

impl MemoryLimits {
    /// Those of this process.
    pub(super) fn find() -> Self {
        Self::find_under(Path::new("/"))
    }

    /// As [`Self::find`], of the process whose `/proc` and `/sys` lie in `root`.
    fn find_under(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        Self {
            groups: groups(&read("proc/self/cgroup"), &read("proc/self/mountinfo")),
            root: root.into(),
        }
    }

    /// The limit now; none where the system tells nothing.
    pub(super) fn now(&self) -> Option<MemoryLimit> {
        let read = |path: &Path| fs::read_to_string(self.root.join(path)).ok();
        let machine = read(Path::new("proc/meminfo")).and_then(|text| machine(&text));
        let groups = self.groups.iter().filter_map(|group| {
            let in_group = |name: &str| read(&group.folder.join(name));
            group_limit(group.hierarchy, in_group)
        });
        machine.into_iter().chain(groups).reduce(MemoryLimit::min)
    }
}

/// The control groups of a process whose `/proc/self/cgroup` and `/proc/self/mountinfo` are these, with folders
/// relative to the root.
fn groups(cgroup: &str, mountinfo: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    for mount in mountinfo.lines().filter_map(Mount::parse) {
        let Some(path) = cgroup.lines().find_map(|line| mount.path_in(line)) else {
            continue;
        };
        // A container sees its own group as the top, whatever `/proc` says of those above.
        let below = Path::new(path).strip_prefix(&mount.root);
        let below = below.unwrap_or(Path::new(""));
        let is_below = below.components().all(|part| part.as_os_str() != "..");
        let below = if is_below { below } else { Path::new("") };
        groups.extend(below.ancestors().map(|folder| Group {
            hierarchy: mount.hierarchy,
            folder: mount.point.join(folder),
        }));
    }
    groups
}

/// Where control groups that limit memory are mounted.
struct Mount {
    hierarchy: Hierarchy,
    /// The group that is seen there.
    root: PathBuf,
    /// Relative to the root of the file system.
    point: PathBuf,
}

impl Mount {
    /// Of a line of `/proc/self/mountinfo`.
    fn parse(line: &str) -> Option<Self> {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (unescape(place.next()?), unescape(place.next()?));
        let mut system = system.split(' ');
        let hierarchy = match system.next()? {
            "cgroup2" => Hierarchy::V2,
            "cgroup" => {
                let mut options = system.nth(1)?.split(',');
                options.find(|option| *option == "memory")?;
                Hierarchy::V1
            }
            _ => return None,
        };
        Some(Self {
            hierarchy,
            root: root.into(),
            point: point.trim_start_matches('/').into(),
        })
    }

    /// The path of the process's group in this hierarchy, if `line` of `/proc/self/cgroup` says it.
    fn path_in<'a>(&self, line: &'a str) -> Option<&'a str> {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_it = match self.hierarchy {
            Hierarchy::V1 => controllers.split(',').any(|name| name == "memory"),
            Hierarchy::V2 => number == "0" && controllers.is_empty(),
        };
        is_it.then_some(path)
    }
}

/// A field of `/proc/self/mountinfo`, where blanks and backslashes are octal numbers.
fn unescape(field: &str) -> String {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n")];
    let text = codes.iter().fold(field.to_owned(), |text, (code, plain)| {
        text.replace(code, plain)
    });
    text.replace("\\134", "\\")
}

/// The limit of a group whose files are read by `read`; none where it has no limit.
fn group_limit(hierarchy: Hierarchy, read: impl Fn(&str) -> Option<String>) -> Option<MemoryLimit> {
    let number = |name| read(name)?.trim().parse::<u64>().ok();
    let stat = read("memory.stat").unwrap_or_default();
    let of_stat = |name| value_of(&stat, name);
    let (limits, used, file_pages) = match hierarchy {
        // Where `memory.high` is passed, the system slows the process down until it stands still.
        Hierarchy::V2 => (
            [number("memory.max"), number("memory.high")],
            number("memory.current"),
            ["inactive_file", "active_file"],
        ),
        // The second is of the groups above too, which a container does not see.
        Hierarchy::V1 => (
            [
                number("memory.limit_in_bytes"),
                of_stat("hierarchical_memory_limit"),
            ],
            number("memory.usage_in_bytes"),
            ["total_inactive_file", "total_active_file"],
        ),
    };
    let bytes = limits.into_iter().flatten().min()?;
    let file_pages: u64 = file_pages.into_iter().filter_map(of_stat).sum();
    let used = used.unwrap_or(0).saturating_sub(file_pages);
    Some(MemoryLimit {
        bytes,
        available: bytes.saturating_sub(used),
    })
}

/// What the machine has, by `/proc/meminfo`.
fn machine(meminfo: &str) -> Option<MemoryLimit> {
    let bytes = |name| Some(value_of(meminfo, name)?.saturating_mul(1024));
    Some(MemoryLimit {
        bytes: bytes("MemTotal:")?,
        available: bytes("MemAvailable:")?,
    })
}

/// The number behind `name` on a line of its own.
fn value_of(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    let mut words = lines.find_map(|mut words| (words.next() == Some(name)).then_some(words))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const MEMINFO: &str = "MemTotal:       24683656 kB\nMemFree:        19077312 kB\n\
                           MemAvailable:   24162308 kB\n";
    const V2_MOUNT: &str =
        "29 22 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1_MOUNTS: &str = "\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        35 31 0:32 /docker/7d4a /sys/fs/cgroup/memory ro master:15 - cgroup cgroup rw,memory\n";

    fn folders(cgroup: &str, mountinfo: &str) -> Vec<String> {
        let groups = groups(cgroup, mountinfo).into_iter();
        groups
            .map(|group| format!("{:?} {}", group.hierarchy, group.folder.display()))
            .collect()
    }

    #[test]
    fn groups_are_found_with_those_above() {
        assert_eq!(
            folders("0::/user.slice/app.service\n", V2_MOUNT),
            [
                "V2 sys/fs/cgroup/user.slice/app.service",
                "V2 sys/fs/cgroup/user.slice",
                "V2 sys/fs/cgroup/",
            ]
        );
        // In a namespace of its own, a container's group is the top.
        assert_eq!(folders("0::/\n", V2_MOUNT), ["V2 sys/fs/cgroup/"]);
        assert_eq!(folders("0::/../other\n", V2_MOUNT), ["V2 sys/fs/cgroup/"]);
        // Without one, the mount says which group is seen.
        let cgroup = "5:devices:/\n4:cpu,memory:/docker/7d4a/inner\n0::/\n";
        assert_eq!(
            folders(cgroup, V1_MOUNTS),
            [
                "V2 sys/fs/cgroup/unified/",
                "V1 sys/fs/cgroup/memory/inner",
                "V1 sys/fs/cgroup/memory/",
            ]
        );
        assert_eq!(
            folders("4:memory:/elsewhere\n", V1_MOUNTS),
            ["V1 sys/fs/cgroup/memory/"]
        );
        let blank = "29 22 0:26 / /my\\040groups rw shared:1 - cgroup2 none rw";
        assert_eq!(
            folders("0::/a\n", blank),
            ["V2 my groups/a", "V2 my groups/"]
        );
        for (cgroup, mountinfo) in [("", ""), ("0::/\n", "nonsense - \n1 2"), ("::", V2_MOUNT)] {
            assert_eq!(folders(cgroup, mountinfo), [""; 0]);
        }
    }

    /// A root folder with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn limit(files: &[(&str, &str)]) -> Option<(u64, u64)> {
        let limit = MemoryLimits::find_under(root(files).path()).now()?;
        Some((limit.bytes, limit.available))
    }

    #[test]
    fn the_tightest_limit_counts() {
        let machine = (24_683_656 << 10, 24_162_308 << 10);
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&[("proc/meminfo", MEMINFO)]), Some(machine));
        let v2 = |max: &str, high: &str, above: &str| {
            limit(&[
                ("proc/meminfo", MEMINFO),
                ("proc/self/cgroup", "0::/pod/app\n"),
                ("proc/self/mountinfo", V2_MOUNT),
                ("sys/fs/cgroup/pod/app/memory.max", max),
                ("sys/fs/cgroup/pod/app/memory.high", high),
                ("sys/fs/cgroup/pod/app/memory.current", "104857600\n"),
                (
                    "sys/fs/cgroup/pod/app/memory.stat",
                    "anon 9\ninactive_file 10485760\nactive_file 20971520\n",
                ),
                ("sys/fs/cgroup/pod/memory.max", above),
                ("sys/fs/cgroup/pod/memory.current", "125829120\n"),
            ])
        };
        assert_eq!(v2("max\n", "max\n", "max\n"), Some(machine));
        // 100 MiB are used, 30 of them for pages of files.
        let of_max = Some((200 * MIB, 130 * MIB));
        assert_eq!(v2("209715200\n", "max\n", "max\n"), of_max);
        let of_high = Some((150 * MIB, 80 * MIB));
        assert_eq!(v2("209715200\n", "157286400\n", "max\n"), of_high);
        // The group above has 120 MiB in use.
        assert_eq!(v2("209715200\n", "max\n", "268435456\n"), of_max);
        let of_above = Some((180 * MIB, 60 * MIB));
        assert_eq!(v2("209715200\n", "max\n", "188743680\n"), of_above);
        assert_eq!(v2("max\n", "max\n", "100\n"), Some((100, 0)));
    }

    #[test]
    fn limits_of_version_1_are_read() {
        let v1 = |own: &str, hierarchical: &str| {
            limit(&[
                ("proc/meminfo", MEMINFO),
                ("proc/self/cgroup", "4:memory:/docker/7d4a\n"),
                ("proc/self/mountinfo", V1_MOUNTS),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", own),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", "52428800\n"),
                (
                    "sys/fs/cgroup/memory/memory.stat",
                    &format!(
                        "cache 1\nhierarchical_memory_limit {hierarchical}\ntotal_active_file 10485760\n"
                    ),
                ),
            ])
        };
        let none = "9223372036854771712";
        assert_eq!(v1(none, none), Some((24_683_656 << 10, 24_162_308 << 10)));
        assert_eq!(v1("209715200\n", none), Some((200 * MIB, 160 * MIB)));
        assert_eq!(v1(none, "209715200"), Some((200 * MIB, 160 * MIB)));
        assert_eq!(v1("nonsense", "209715200"), Some((200 * MIB, 160 * MIB)));
    }
}
