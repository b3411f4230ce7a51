//! The generated `freshclam.conf`: every line with its reason. Pure.

use std::path::Path;

use crate::config::OFFICIAL_MIRROR;

/// Where databases come from, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// `https://database.clamav.net`, or a mirror of one's own.
    pub url: String,
    /// Names of the databases that are wanted.
    pub databases: Vec<String>,
}

/// What freshclam fetches when it is told nothing (freshclam.conf(5)).
const OFFICIAL_DATABASES: [&str; 3] = ["main", "daily", "bytecode"];

impl Mirror {
    /// The makers' databases from `url`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), databases: OFFICIAL_DATABASES.map(str::to_owned).to_vec() }
    }

    fn is_official(&self) -> bool {
        self.url == OFFICIAL_MIRROR
    }

    /// Arguments for an update. Versions of the official databases are asked for by DNS first, which
    /// costs the servers nothing; a mirror of one's own may be behind what DNS says, so it is asked
    /// itself.
    pub(super) fn arguments(&self) -> &'static [&'static str] {
        if self.is_official() { &[] } else { &["--no-dns"] }
    }
}

/// The text of `freshclam.conf` (freshclam.conf(5)).
#[must_use]
pub fn render(database_dir: &Path, mirror: &Mirror) -> String {
    let database_dir = database_dir.display();
    let url = if mirror.is_official() { "database.clamav.net" } else { &mirror.url };
    let mut text = format!(
        "\
# Written by s3-virusscan for every run of freshclam.
Foreground yes
DatabaseDirectory {database_dir}
# As root it would look for a user `clamav`, whom the layer does not have. In Lambda it is not root.
DatabaseOwner root

# Not PrivateMirror: with that, freshclam fetches whole files only, never increments.
DatabaseMirror {url}
DNSDatabaseInfo current.cvd.clamav.net
ScriptedUpdates yes

# Its own test would load the whole database into memory, one file at a time; the updater proves
# all of them together, as they are used.
TestDatabases no
# The updater reads it once more anyway; plain is what it reads fastest.
CompressLocalDatabase no

# Once more after 5 seconds. A failed run is repeated by Lambda and by the schedule.
MaxAttempts 2
ConnectTimeout 15
# Seconds below the least speed. The whole run has a limit of its own.
ReceiveTimeout 60
"
    );
    for official in OFFICIAL_DATABASES {
        if !mirror.databases.iter().any(|name| name == official) {
            text.push_str(&format!("ExcludeDatabase {official}\n"));
        }
    }
    for name in &mirror.databases {
        if !OFFICIAL_DATABASES.contains(&name.as_str()) {
            text.push_str(&format!("ExtraDatabase {name}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mirror: &Mirror) -> Vec<String> {
        let text = render(Path::new("/tmp/db"), mirror);
        text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn the_official_databases_are_asked_for_by_dns_and_updated_by_increments() {
        let mirror = Mirror::new(OFFICIAL_MIRROR);
        let lines = lines(&mirror);
        for line in [
            "DatabaseDirectory /tmp/db",
            "DatabaseMirror database.clamav.net",
            "DNSDatabaseInfo current.cvd.clamav.net",
            "ScriptedUpdates yes",
        ] {
            assert!(lines.iter().any(|l| l == line), "{line}: {lines:?}");
        }
        assert!(!lines.iter().any(|l| l.contains("PrivateMirror") || l.contains("Exclude")));
        assert!(mirror.arguments().is_empty());
    }

    #[test]
    fn another_mirror_is_asked_itself() {
        let mirror = Mirror::new("http://mirror.example.com/clamav");
        assert!(lines(&mirror).contains(&"DatabaseMirror http://mirror.example.com/clamav".into()));
        assert_eq!(mirror.arguments(), ["--no-dns"]);
    }

    #[test]
    fn databases_that_are_not_wanted_are_excluded() {
        let mirror = Mirror { url: "http://m".into(), databases: vec!["daily".into(), "x".into()] };
        let lines = lines(&mirror);
        let about: Vec<_> =
            lines.iter().filter(|l| l.contains("Exclude") || l.contains("Extra")).collect();
        assert_eq!(about, ["ExcludeDatabase main", "ExcludeDatabase bytecode", "ExtraDatabase x"]);
    }
}
