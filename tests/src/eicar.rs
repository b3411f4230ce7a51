//! The one file that every scanner agrees to call infected.

/// The EICAR test file, 68 bytes. It is put together at run time, so that no scanner finds it in
/// this repository. <https://www.eicar.org/download-anti-malware-testfile/>
#[must_use]
pub fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"]
        .concat()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use s3s::crypto::{Checksum as _, Md5};

    use super::*;

    #[test]
    fn is_the_published_file() {
        let digest = Md5::checksum(&eicar());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "44d88612fea8a8f36de82e1278abb02f");
    }
}
