//! Proves files before anybody scans with them: clamd loads them, finds EICAR, calls an ordinary
//! file clean, and the base shard names a Windows program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use function_common::clamd::conf::Limits;
use function_common::clamd::{Clamd, ClamdError, Paths, free_bytes};
use function_common::reply::Answer;
use tokio::time::timeout;

/// Far beyond what the whole database takes to load (about 7 s on one vCPU, measured).
const LOAD_TIME: Duration = Duration::from_secs(120);

/// Why files were refused.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// clamd does not load them, or finds nothing with them.
    #[error("clamd refuses them")]
    Clamd(#[from] ClamdError),
    /// It loads, but does not come to an end.
    #[error("clamd has not loaded them after {} s", LOAD_TIME.as_secs())]
    Slow,
    /// It does not judge a file of which the verdict is known as it must.
    #[error("clamd answers {answer} about {what}")]
    Wrong {
        /// The file.
        what: &'static str,
        /// What it said.
        answer: String,
    },
}

/// What clamd said of files that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The engine's version.
    pub engine: String,
    /// Its complaints while it loaded them. It passes over YARA rules that it cannot read, and says
    /// so nowhere else.
    pub complaints: Vec<String>,
}

/// Runs clamd on folders.
#[derive(Debug, Clone)]
pub struct Prover {
    /// The unpacked layer.
    pub clamav_dir: PathBuf,
    /// A folder that is clamd's alone.
    pub work_dir: PathBuf,
    /// Memory of the function in MB.
    pub memory_mb: u32,
}

impl Prover {
    /// Proves the files in `shard` as the scanner will use them. `names_programs`: whether it is the base shard, which must name Windows programs.
    ///
    /// # Errors
    /// When they must not be used.
    pub async fn prove(&self, shard: &Path, names_programs: bool) -> Result<Proof, ProofError> {
        let room = free_bytes(shard)?;
        let paths = Paths {
            clamav_dir: self.clamav_dir.clone(),
            definitions_dir: shard.to_owned(),
            work_dir: self.work_dir.clone(),
        };
        let clamd = Clamd::start(paths, Limits::for_function(self.memory_mb, room), false)?;
        let result = judge(&clamd, names_programs).await;
        // Its memory is the next one's.
        let mut complaints = clamd.stop_for_log().await;
        complaints.retain(|line| line.contains("LibClamAV Error") || line.contains("cli_loadyara"));
        Ok(Proof { engine: result?, complaints })
    }
}

async fn judge(clamd: &Clamd, names_programs: bool) -> Result<String, ProofError> {
    // Finds EICAR.
    let engine = timeout(LOAD_TIME, clamd.ready()).await.map_err(|_| ProofError::Slow)??;
    expect(clamd, "an ordinary text", b"An ordinary text.\n".to_vec(), Answer::Clean).await?;
    if names_programs {
        expect(clamd, "a Windows program", program(), Answer::PortableExecutable).await?;
    }
    Ok(engine)
}

async fn expect(
    clamd: &Clamd,
    what: &'static str,
    bytes: Vec<u8>,
    expected: Answer,
) -> Result<(), ProofError> {
    let stream = futures_util::stream::iter([Ok(Bytes::from(bytes))]);
    let answer = clamd.scan(stream).await?;
    if answer == expected {
        Ok(())
    } else {
        Err(ProofError::Wrong { what, answer: format!("{answer:?}") })
    }
}

/// The smallest file that is a Windows program in form: DOS header, PE header for i386 with one
/// section, that section (Microsoft, "PE Format"). It does nothing.
fn program() -> Vec<u8> {
    const PE_HEADER: u8 = 0x40;
    const OPTIONAL_HEADER: usize = 0xe0;
    let mut file = vec![0; 0x400];
    file[0x00..0x02].copy_from_slice(b"MZ");
    file[0x3c] = PE_HEADER;
    let pe = usize::from(PE_HEADER);
    file[pe..pe + 4].copy_from_slice(b"PE\0\0");
    file[pe + 0x04..pe + 0x06].copy_from_slice(&0x014c_u16.to_le_bytes()); // i386
    file[pe + 0x06] = 1; // sections
    file[pe + 0x14] = 0xe0; // length of the optional header
    file[pe + 0x16..pe + 0x18].copy_from_slice(&0x0102_u16.to_le_bytes()); // executable, 32 bit
    let optional = pe + 0x18;
    let mut put = |offset: usize, value: u32| {
        file[optional + offset..optional + offset + 4].copy_from_slice(&value.to_le_bytes());
    };
    put(0x00, 0x010b); // PE32
    put(0x04, 0x200); // length of code
    put(0x10, 0x1000); // entry point
    put(0x14, 0x1000); // base of code
    put(0x1c, 0x0040_0000); // image base
    put(0x20, 0x1000); // alignment in memory
    put(0x24, 0x200); // alignment in the file
    put(0x30, 4); // version of the subsystem
    put(0x38, 0x2000); // length in memory
    put(0x3c, 0x200); // length of the headers
    put(0x44, 3); // subsystem: console
    put(0x5c, 16); // data directories
    let section = OPTIONAL_HEADER;
    put(section, u32::from_le_bytes(*b".tex"));
    put(section + 0x04, u32::from_le_bytes(*b"t\0\0\0"));
    put(section + 0x08, 0x200); // length in memory
    put(section + 0x0c, 0x1000); // address
    put(section + 0x10, 0x200); // length in the file
    put(section + 0x14, 0x200); // place in the file
    put(section + 0x24, 0x6000_0020); // code, may be read and executed
    file[0x200] = 0xc3; // return
    file
}
