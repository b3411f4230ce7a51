//! Lays the files of a generation out: for each shard a folder as clamd loads it.

use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use function_common::manifest::{BASE, PE, PORTABLE_EXECUTABLE};

use crate::container::{self, ContainerError, Header, Writer};
use crate::cut::{self, Placement, Where};

/// The shards, in the order of the manifest.
pub const SHARDS: [&str; 2] = [BASE, PE];

/// The database of byte code. It stays as it is: clamd runs only byte code that came in a
/// container that the makers signed.
const BYTECODE: &str = "bytecode";

/// MD5 and length of the EICAR test file, published with it. The name is not the makers', so that
/// an owner who has theirs ignored does not switch this one off.
const EICAR: &str = "44d88612fea8a8f36de82e1278abb02f:68:S3-Virusscan.Canary.Eicar\n";

/// A database as freshclam left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// `main`, `daily`, `bytecode`.
    pub name: String,
    /// `.cvd` or `.cld`.
    pub path: PathBuf,
    /// What its header says.
    pub header: Header,
}

/// A file of the owner's that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatures {
    /// The name under which clamd loads it.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// The shards that get it.
    pub place: Where,
}

/// Writes a folder for each of [`SHARDS`] into `dir`, which must be empty.
///
/// # Errors
/// When a database is damaged or the folder cannot be written.
pub fn write(
    databases: &[Database],
    custom: &[Signatures],
    dir: &Path,
) -> Result<(), ContainerError> {
    let [base, pe] = SHARDS.map(|shard| dir.join(shard));
    for shard in [&base, &pe] {
        fs::create_dir_all(shard).map_err(|source| io(shard, source))?;
    }
    for database in databases {
        if database.name == BYTECODE {
            for shard in [&base, &pe] {
                copy(&database.path, shard)?;
            }
        } else {
            cut(database, &base, &pe)?;
        }
    }
    for signatures in custom {
        if signatures.place != Where::Pe {
            copy_as(&signatures.path, &base.join(&signatures.name))?;
        }
        if signatures.place != Where::Base {
            copy_as(&signatures.path, &pe.join(&signatures.name))?;
        }
    }
    write_tripwire(&base)?;
    write_canary(&pe)
}

/// Adds what names every Windows program (see [`PORTABLE_EXECUTABLE`]). Level 81 is the oldest
/// engine's that the makers' own signatures ask for.
///
/// # Errors
/// When it cannot be written.
pub fn write_tripwire(shard: &Path) -> Result<(), ContainerError> {
    let path = shard.join("s3-virusscan.ldb");
    let signature = format!("{PORTABLE_EXECUTABLE};Engine:81-255,Target:1;0;0:4d5a\n");
    fs::write(&path, signature).map_err(|source| io(&path, source))
}

/// Adds what finds EICAR, where the makers' own signature of it is not: every clamd is trusted only
/// when it has found EICAR.
///
/// # Errors
/// When it cannot be written.
pub fn write_canary(shard: &Path) -> Result<(), ContainerError> {
    let path = shard.join("s3-virusscan.hdb");
    fs::write(&path, EICAR).map_err(|source| io(&path, source))
}

/// Cuts one database, line by line.
fn cut(database: &Database, base: &Path, pe: &Path) -> Result<(), ContainerError> {
    let copying = container::copying(&database.path)?;
    let mut in_base = Writer::create(base, &database.name, &copying)?;
    let mut in_pe = Writer::create(pe, &database.name, &copying)?;
    let read = |source| io(&database.path, source);

    let header = container::read(&database.path, |name, member| {
        let placement = cut::placement(name);
        if placement == Placement::Beside {
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).map_err(read)?;
            // Named for the database, whatever it is called inside.
            let ending = Path::new(name).extension().unwrap_or_default();
            let file = Path::new(&database.name).with_extension(ending);
            for shard in [base, pe] {
                let path = shard.join(&file);
                fs::write(&path, &bytes).map_err(|source| io(&path, source))?;
            }
            return Ok(());
        }
        in_base.begin(name)?;
        in_pe.begin(name)?;
        let mut line = Vec::new();
        while next_line(member, &mut line).map_err(read)? {
            let place = match placement {
                Placement::Whole(place) => place,
                Placement::Lines(format) => cut::line(format, &line),
                Placement::Beside => Where::Both,
            };
            if matches!(place, Where::Base | Where::Both) {
                in_base.line(&line)?;
            }
            if matches!(place, Where::Pe | Where::Both) {
                in_pe.line(&line)?;
            }
        }
        in_base.end()?;
        in_pe.end()
    })?;
    in_base.finish(&header)?;
    in_pe.finish(&header)?;
    Ok(())
}

fn next_line(member: &mut dyn BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    Ok(member.read_until(b'\n', line)? > 0)
}

fn copy(file: &Path, shard: &Path) -> Result<(), ContainerError> {
    copy_as(file, &shard.join(file.file_name().unwrap_or_default()))
}

fn copy_as(file: &Path, to: &Path) -> Result<(), ContainerError> {
    fs::copy(file, to).map(drop).map_err(|source| io(to, source))
}

fn io(path: &Path, source: std::io::Error) -> ContainerError {
    ContainerError::Io { path: path.to_owned(), source }
}
