//! What parses hostile bytes holds no power: clamd has no credentials, cannot look into the
//! function and cannot open a network connection.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use function_common::clamd::confine;
use scanner_tests::artefacts::{self, Arch};
use scanner_tests::processes;
use scanner_tests::sandbox::Sandbox;
use scanner_tests::world::{UPLOADS, World, WorldOptions};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{DEADLINE, clamd, open_folder, set, world};

/// `EPERM` and `EACCES` of `asm-generic/errno-base.h`.
const EPERM: i32 = 1;
const EACCES: i32 = 13;

#[tokio::test]
async fn clamd_in_the_sandbox_holds_nothing_that_is_worth_having() {
    let world = World::start(WorldOptions::deployed().unwrap()).await.unwrap();
    world.put(UPLOADS, "first", "text").await.unwrap();
    world.finding_for("first", DEADLINE).await.unwrap();
    holds_nothing(world.sandbox());

    // The next one is started by a function that has connections to S3 and SNS open by now.
    let first = clamd(world.sandbox()).unwrap();
    world.sandbox().kill_clamd().unwrap();
    world.put(UPLOADS, "second", "text").await.unwrap();
    world.finding_for("second", DEADLINE).await.unwrap();
    assert_ne!(clamd(world.sandbox()).unwrap(), first);
    holds_nothing(world.sandbox());
}

fn holds_nothing(sandbox: &Sandbox) {
    let clamd = clamd(sandbox).unwrap();
    let function = sandbox.bootstrap_pid().unwrap();

    let secrets = processes::environment(function).unwrap();
    assert!(secrets.contains_key("AWS_SECRET_ACCESS_KEY"), "the function has some to lose");
    let variables = processes::environment(clamd).unwrap();
    let names: Vec<_> = variables.keys().map(String::as_str).collect();
    assert_eq!(names, ["GCONV_PATH", "LD_LIBRARY_PATH", "OPENSSL_CONF"]);

    for file in processes::mapped_files(clamd).unwrap() {
        let own = file.starts_with("/opt/clamav") || file.starts_with("/tmp/s3-virusscan");
        assert!(own, "clamd maps {}", file.display());
    }

    // 2 is SECCOMP_MODE_FILTER (linux/seccomp.h). Each thread has a state of its own.
    for (line, expected) in [("Seccomp", "2"), ("NoNewPrivs", "1"), ("CapEff", "0000000000000000")]
    {
        let values = processes::status(clamd, line).unwrap();
        assert!(!values.is_empty() && values.iter().all(|value| value == expected), "{line}");
    }
    assert!(processes::status(function, "Seccomp").unwrap().iter().all(|value| value == "0"));

    assert!(!network_sockets(function).unwrap().is_empty(), "the function has connections");
    assert_eq!(network_sockets(clamd).unwrap(), Vec::<PathBuf>::new());
}

/// The descriptors of a process that are sockets of the Internet.
fn network_sockets(pid: u32) -> anyhow::Result<Vec<PathBuf>> {
    let mut sockets = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"] {
        let path = format!("/proc/{pid}/net/{table}");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        // The tenth column is the inode.
        let inodes = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(9));
        sockets.extend(inodes.map(|inode| PathBuf::from(format!("socket:[{inode}]"))));
    }
    let folder = format!("/proc/{pid}/fd");
    let descriptors = std::fs::read_dir(&folder).with_context(|| format!("reading {folder}"))?;
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    Ok(targets.filter(|target| sockets.contains(target)).collect())
}

#[tokio::test]
async fn a_hostile_program_in_clamds_place_gets_nowhere() {
    let layer = open_folder().unwrap();
    hostile_layer(layer.path()).unwrap();
    let world = world(|options| {
        options.layer = Some(layer.path().to_owned());
        // The level at which the function passes on what clamd says.
        set(options, &[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]);
    })
    .await
    .unwrap();
    let said = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        serde_json::from_str(line["clamd"].as_str()?.strip_prefix("probe ")?).ok()
    };
    let logs = world.sandbox().logs();
    let line = logs.wait_for(|line| said(line).is_some(), DEADLINE).await.unwrap();
    let report: Value = said(&line).unwrap();

    let names = report["variables"].as_array().unwrap();
    assert!(!names.iter().any(|name| name.as_str().unwrap().starts_with("AWS_")), "{names:?}");
    for socket in ["tcp4", "tcp6", "udp4", "udp6"] {
        assert_eq!(report[socket], EPERM, "{socket}");
    }
    assert_eq!(report["unix"], "ok", "its own socket it must be able to open");

    let function = &report["processes"]["bootstrap"];
    for file in ["environ", "mem", "maps", "fd/0"] {
        assert_eq!(function[file], EACCES, "{file} of the function: {function}");
    }
    // A process of the same user that does not shield itself could be read: it is the shield.
    let unshielded = &report["processes"]["aws-lambda-rie"];
    for file in ["environ", "mem"] {
        assert_eq!(unshielded[file], "ok", "{file} of the emulator: {unshielded}");
    }
}

/// A layer in which the program that should load clamd is the probe.
fn hostile_layer(folder: &Path) -> anyhow::Result<()> {
    let real = artefacts::layer(Arch::X86_64)?.join("clamav");
    let hostile = folder.join("clamav");
    std::fs::create_dir_all(hostile.join("lib"))?;
    std::fs::create_dir_all(hostile.join("etc"))?;
    std::fs::copy(env!("CARGO_BIN_EXE_probe"), hostile.join("lib/ld-linux-x86-64.so.2"))?;
    // What the probe and the function need beside the C library.
    for file in ["lib/libgcc_s.so.1", "etc/ca-bundle.crt"] {
        std::fs::copy(real.join(file), hostile.join(file))?;
    }
    Ok(())
}

/// Tries what no program of Rust can without unsafe code: each address family, and the system
/// calls that reach into other processes, with their numbers on x86-64 (`syscalls(2)`), also by
/// way of the x32 call numbers (bit 30), which a filter on numbers alone would miss.
const ATTEMPTS: &str = r#"
import ctypes, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return 0 if libc.syscall(ctypes.c_long(number), *wide) >= 0 else ctypes.get_errno()
tried = {}
for family in range(46):
    tried[f"family {family}"] = call(41, family, socket.SOCK_DGRAM, 0)
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
source, target = (ctypes.create_string_buffer(8) for _ in range(2))
vectors = [ctypes.byref(Vector(ctypes.addressof(b), 8)) for b in (target, source)]
me = os.getpid()
tried["process_vm_readv"] = call(310, me, vectors[0], 1, vectors[1], 1, 0)
tried["process_vm_writev"] = call(311, me, vectors[0], 1, vectors[1], 1, 0)
tried["pidfd_getfd"] = call(438, os.pidfd_open(me), 1, 0)
tried["io_uring_setup"] = call(425, 1, ctypes.create_string_buffer(120))
tried["x32 socket"] = call(41 | 1 << 30, socket.AF_INET, socket.SOCK_DGRAM, 0)
tried["x32 ptrace"] = call(521 | 1 << 30, 0, 0, 0, 0)
tried["socketpair"] = call(53, socket.AF_UNIX, socket.SOCK_STREAM, 0, (ctypes.c_int * 2)())
tried["ptrace"] = call(101, 0, 0, 0, 0)
print(json.dumps(tried))
"#;

type Tried = BTreeMap<String, i32>;

async fn tried(child: tokio::process::Child) -> anyhow::Result<Tried> {
    let output = child.wait_with_output().await.context("waiting for the attempts")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).with_context(|| format!("its errors: {errors}"))
}

fn attempts() -> Command {
    let python = artefacts::workspace().join("target/tools/bin/python");
    let mut command = Command::new(python);
    command.args(["-I", "-c", ATTEMPTS]).env_clear();
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}

#[tokio::test]
async fn the_filter_refuses_every_way_out_and_nothing_else() {
    let free = tried(attempts().spawn().unwrap()).await.unwrap();
    let confined = tried(confine::spawn(attempts(), &[]).unwrap().child).await.unwrap();

    for family in 0..46 {
        let name = format!("family {family}");
        // 1 is AF_UNIX.
        let expected = if family == 1 { 0 } else { EPERM };
        assert_eq!(confined[&name], expected, "{name}");
    }
    // AF_INET, AF_INET6 and AF_NETLINK: on this machine they could be had.
    for family in ["family 2", "family 10", "family 16"] {
        assert_eq!(free[family], 0, "{family}");
    }
    for call in ["ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd"] {
        assert_eq!((free[call], confined[call]), (0, EPERM), "{call}");
    }
    // This may be switched off for the whole machine.
    assert_eq!(confined["io_uring_setup"], EPERM);
    // Most kernels do not have these at all.
    for call in ["x32 socket", "x32 ptrace"] {
        assert_ne!(confined[call], 0, "{call}");
    }
    assert_eq!(confined["socketpair"], 0);
}

#[tokio::test]
async fn the_filter_is_the_childs_alone() {
    let child = confine::spawn(attempts(), &[("NAME", json!("value").to_string())]).unwrap();
    tried(child.child).await.unwrap();
    assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_ok());
    let own = processes::status(std::process::id(), "Seccomp").unwrap();
    assert!(own.iter().all(|state| state == "0"), "{own:?}");
}
