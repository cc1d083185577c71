//! What can go wrong has the status that the header says.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use engram::{Config, LayerId, Manifest, Resident, RowCodec, Store, read_manifest};
use engram_capi::engram_status;
use engram_format::Digest;

use crate::{
    attached::{attach, tensor_files},
    harness::{LANGUAGES, Workshop, copy_pack, has, pack, run, said, text},
};

/// A pack that has been spoiled, the options with which it is opened, and what a lookup of the first row then says.
struct Case {
    status: engram_status,
    options: &'static str,
    spoil: fn(&Path),
}

fn case(status: engram_status, spoil: fn(&Path)) -> Case {
    let options = r#"{"reader": "pread"}"#;
    Case {
        status,
        options,
        spoil,
    }
}

fn write_manifest(pack: &Path, change: impl FnOnce(&mut Manifest)) {
    let mut manifest = read_manifest(pack).unwrap();
    change(&mut manifest);
    fs::write(pack.join("manifest.json"), manifest.to_text()).unwrap();
}

fn first_shard(pack: &Path) -> PathBuf {
    let mut shards = fs::read_dir(pack.join("layer-01"))
        .unwrap()
        .map(|shard| shard.unwrap().path());
    let first = shards.next().unwrap();
    shards.fold(first, Ord::min)
}

fn change_bytes(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Manifests and token maps that cannot be read.
fn bad_manifests() -> Vec<Case> {
    vec![
        case(engram_status::ENGRAM_NOT_A_PACK, |pack| {
            fs::remove_file(pack.join("manifest.json")).unwrap()
        }),
        case(engram_status::ENGRAM_BAD_MANIFEST, |pack| {
            fs::write(pack.join("manifest.json"), "[").unwrap()
        }),
        case(engram_status::ENGRAM_BAD_MANIFEST_FIELD, |pack| {
            fs::write(pack.join("manifest.json"), r#"{"format":"other"}"#).unwrap();
        }),
        case(engram_status::ENGRAM_NEWER_VERSION, |pack| {
            fs::write(
                pack.join("manifest.json"),
                r#"{"format":"engram-pack","version":4}"#,
            )
            .unwrap();
        }),
        case(engram_status::ENGRAM_TOO_LONG, |pack| {
            let manifest = fs::File::options()
                .write(true)
                .open(pack.join("manifest.json"));
            manifest.unwrap().set_len(17 << 20).unwrap();
        }),
        case(engram_status::ENGRAM_BAD_CHECKSUM, |pack| {
            change_bytes(&pack.join("token_map.u32le"), |bytes| bytes[0] ^= 1);
        }),
        case(engram_status::ENGRAM_BAD_SCHEME, |pack| {
            write_manifest(pack, |manifest| {
                manifest.scheme.fill = manifest.scheme.hashed_vocab_size
            });
        }),
        case(engram_status::ENGRAM_BAD_CODEC, |pack| {
            write_manifest(pack, |manifest| {
                manifest.tables[0].codec = RowCodec::F32 { width: 0 }
            });
        }),
        case(engram_status::ENGRAM_BAD_TOKEN_MAP, |pack| {
            let path = pack.join("token_map.u32le");
            change_bytes(&path, |bytes| bytes[..4].fill(0xFF));
            let digest = Digest::of(&fs::read(path).unwrap());
            write_manifest(pack, |manifest| {
                manifest.token_map.as_mut().unwrap().digest = digest
            });
        }),
    ]
}

/// Options by which every column is a copy in a folder beside the pack.
const SHARED: &str = r#"{"resident": {"orders": 9}, "resident_folder": "shared"}"#;

/// Folders of shared copies and checkpoints in which something is wrong.
fn bad_folders() -> Vec<Case> {
    vec![
        case(engram_status::ENGRAM_CHECKPOINT_MOVED, |folder| {
            become_attached(folder);
            fs::rename(folder.join("checkpoint"), folder.join("moved")).unwrap();
        }),
        case(engram_status::ENGRAM_NOT_A_FILE, |folder| {
            fs::remove_file(folder.join("manifest.json")).unwrap();
            fs::create_dir(folder.join("manifest.json")).unwrap();
        }),
        // No file can be made there, by any user.
        Case {
            options: r#"{"resident": {"orders": 9}, "resident_folder": "/proc"}"#,
            ..case(engram_status::ENGRAM_UNUSABLE_COPY, |_| ())
        },
        Case {
            options: SHARED,
            ..case(engram_status::ENGRAM_DAMAGED_COPY, |pack| {
                let shared = pack.with_file_name("shared");
                let config = Config::new()
                    .resident(Resident::Orders(9))
                    .resident_folder(&shared);
                drop(Store::open(pack, config).unwrap());
                let copies = fs::read_dir(shared).unwrap();
                for copy in copies.map(|copy| copy.unwrap().path()) {
                    if fs::metadata(&copy).unwrap().len() > 4_096 {
                        change_bytes(&copy, |bytes| bytes[4_096] ^= 1);
                    }
                }
            })
        },
    ]
}

/// Shards, profiles and checkpoints that are not what the manifest says.
fn bad_files() -> Vec<Case> {
    vec![
        case(engram_status::ENGRAM_BAD_SIZE, |pack| {
            change_bytes(&first_shard(pack), |bytes| bytes.push(0))
        }),
        case(engram_status::ENGRAM_BAD_MAGIC, |pack| {
            change_bytes(&first_shard(pack), |bytes| bytes[0] ^= 1)
        }),
        case(engram_status::ENGRAM_BAD_HEADER_FIELD, |pack| {
            write_manifest(pack, |manifest| {
                let shards = &mut manifest.tables[0].shards;
                shards[0] = shards[1];
            });
        }),
        case(engram_status::ENGRAM_FILE, |pack| {
            fs::remove_file(first_shard(pack)).unwrap()
        }),
        case(engram_status::ENGRAM_DAMAGED, |pack| {
            change_bytes(&first_shard(pack), |bytes| bytes[4_096] ^= 1)
        }),
        Case {
            options: concat!(
                r#"{"profile": ""#,
                env!("CARGO_MANIFEST_DIR"),
                r#"/../../format-spec/vectors/profiles/longcat.profile"}"#
            ),
            ..case(engram_status::ENGRAM_OTHER_PROFILE, |_| ())
        },
        Case {
            options: r#"{"resident": {"orders": 2}}"#,
            ..case(engram_status::ENGRAM_NO_COLUMNS, |folder| {
                become_attached(folder)
            })
        },
        case(engram_status::ENGRAM_CHANGED, |folder| {
            become_attached(folder);
            tensor_files(folder).iter().for_each(|file| {
                change_bytes(file, |bytes| {
                    let header = 8 + usize::from(bytes[0]) + 256 * usize::from(bytes[1]);
                    bytes[header..].iter_mut().for_each(|byte| *byte ^= 0x11);
                });
            });
        }),
    ]
}

#[test]
fn spoiled_packs_are_told_apart() {
    if !has("gcc") {
        return;
    }
    let workshop = Workshop::new();
    let program = workshop.compile("tests/c/rows.c", LANGUAGES[0], &[]);
    let mut provoked = BTreeSet::new();
    for Case {
        status,
        options,
        spoil,
    } in bad_manifests()
        .into_iter()
        .chain(bad_files())
        .chain(bad_folders())
    {
        let folder = tempfile::tempdir().unwrap();
        let spoiled = folder.path().join("pack");
        copy_pack(&pack("deepseek"), &spoiled);
        spoil(&spoiled);
        let layer =
            read_manifest(&spoiled).map_or(LayerId(1), |manifest| manifest.scheme.layers[0].id);
        let mut command = workshop.command(&program);
        command.current_dir(folder.path()).arg(&spoiled).args([
            options,
            "lookup",
            &layer.to_string(),
            "i32",
            "0",
            "0",
            "0",
        ]);
        let output = command.output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(1),
            "{status:?}: {}",
            said(&output)
        );
        let expected = format!("{} ", status as i32);
        assert!(
            text(&output.stdout).starts_with(&expected),
            "{status:?}: {}",
            said(&output)
        );
        provoked.insert(status as i32);
    }
    assert_eq!(provoked.len(), 21);
}

/// Puts an attached pack and its checkpoint in the place of `pack`.
fn become_attached(pack: &Path) {
    fs::remove_dir_all(pack).unwrap();
    fs::create_dir(pack).unwrap();
    let attached = attach(pack);
    fs::rename(attached.join("manifest.json"), pack.join("manifest.json")).unwrap();
}

#[test]
fn mistakes_of_callers_are_told_apart() {
    for language in LANGUAGES.into_iter().filter(|language| has(language.1)) {
        let workshop = Workshop::new();
        let program = workshop.compile("tests/c/statuses.c", language, &[]);
        let scratch = workshop.path().join("scratch");
        copy_pack(&pack("deepseek"), &scratch);
        let attached = attach(workshop.path());
        let mut command = workshop.command(&program);
        command
            .arg(pack("deepseek"))
            .arg(&scratch)
            .arg(first_shard(&scratch))
            .arg("limits")
            .arg(attached)
            .args(tensor_files(workshop.path()));
        let printed = text(&run(&mut command));
        // Each says what went wrong.
        assert!(
            printed.lines().all(|line| line.split(' ').count() > 2),
            "{printed}"
        );
    }
}
