//! Stands in for clamd and tries what clamd must not be able to do. It says in one line what came
//! of it, `probe {...}`, and stays until it is killed.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;

use serde_json::{Map, Value, json};

fn main() -> io::Result<()> {
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let report = json!({
        "variables": names.collect::<Vec<_>>(),
        "tcp4": outcome(TcpListener::bind("127.0.0.1:0")),
        "udp4": outcome(UdpSocket::bind("127.0.0.1:0")),
        "tcp6": outcome(TcpListener::bind("[::1]:0")),
        "udp6": outcome(UdpSocket::bind("[::1]:0")),
        "unix": outcome(UnixDatagram::unbound()),
        "processes": processes()?,
    });
    writeln!(io::stdout().lock(), "probe {report}")?;
    loop {
        std::thread::park();
    }
}

/// `ok`, or the error number.
fn outcome<T>(result: io::Result<T>) -> Value {
    match result {
        Ok(_) => json!("ok"),
        Err(error) => json!(error.raw_os_error()),
    }
}

/// For each other process, by its program's name, whether its environment and its memory can be
/// had.
fn processes() -> io::Result<Map<String, Value>> {
    let mut processes = Map::new();
    for entry in std::fs::read_dir("/proc")? {
        let folder = entry?.path();
        // What is no process has no such file.
        let Ok(name) = std::fs::read_to_string(folder.join("comm")) else { continue };
        let tried = ["environ", "mem", "maps", "fd/0"].map(|file| {
            let path = folder.join(file);
            // Memory is not mapped at its start: that it could be opened is enough.
            let got = File::open(path).and_then(|mut opened| match file {
                "environ" | "maps" => opened.read(&mut [0]),
                _ => Ok(0),
            });
            (file.to_owned(), outcome(got))
        });
        processes.insert(name.trim().to_owned(), Value::Object(tried.into_iter().collect()));
    }
    Ok(processes)
}
