//! The file that says where the server answers: for scripts and tests that let it take free ports.

use std::{
    ffi::OsString,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

/// Removes what an earlier run left, so that the file's presence means "ready".
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes it whole or not at all: to a file beside it, then renamed.
pub(super) fn write(path: &Path, url: Option<&str>, admin: &str) -> io::Result<()> {
    let content = serde_json::json!({ "url": url, "admin": admin });
    let mut beside = OsString::from(path);
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    fs::write(&beside, format!("{content}\n"))?;
    fs::rename(&beside, path)
}

/// The URL of a listener. One that listens everywhere is reached by loopback from here.
pub(super) fn url(address: SocketAddr) -> String {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    format!("http://{host}:{}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_urls_one_can_open() {
        for (address, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:80", "http://[::1]:80"),
            ("[::1]:80", "http://[::1]:80"),
        ] {
            assert_eq!(url(address.parse().unwrap()), expected);
        }
    }

    #[test]
    fn the_file_is_whole_and_the_old_one_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        remove(&path).unwrap();
        write(&path, Some("http://a"), "http://b").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"admin\":\"http://b\",\"url\":\"http://a\"}\n");
        remove(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
