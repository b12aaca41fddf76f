//! What a person sees when the server is up.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

/// What is told.
#[derive(Debug)]
pub(super) struct Banner<'a> {
    pub(super) url: &'a str,
    pub(super) admin: &'a str,
    pub(super) data: &'a Path,
    pub(super) durability: &'a str,
    pub(super) dev: bool,
    pub(super) took: Duration,
}

impl Banner<'_> {
    /// The text.
    pub(super) fn text(&self) -> String {
        let mut text = format!("\n  rookery {}\n\n", env!("CARGO_PKG_VERSION"));
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<8} {value}");
        };
        line("open", &format!("{}/", self.url));
        line(
            "admin",
            &format!("{}/ (healthz, readyz, metrics)", self.admin),
        );
        line("data", &self.data.display().to_string());
        line("durable", self.durability);
        if self.dev {
            line("mode", "development: a name is enough to log in");
        } else {
            line("mode", "tokens are checked with auth.keys");
        }
        line(
            "started",
            &format!("in {} ms; Ctrl-C stops", self.took.as_millis()),
        );
        text.push('\n');
        text
    }

    /// Prints it. That nobody reads standard output is not an error.
    pub(super) fn print(&self) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(self.text().as_bytes());
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_names_url_data_durability_and_mode() {
        let banner = |dev| Banner {
            url: "http://127.0.0.1:8080",
            admin: "http://127.0.0.1:9090",
            data: Path::new("./rookery-data"),
            durability: "one fsync per commit",
            dev,
            took: Duration::from_millis(42),
        };
        let text = banner(true).text();
        for words in [
            "http://127.0.0.1:8080/",
            "./rookery-data",
            "one fsync",
            "a name is enough",
            "42 ms",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert!(!banner(false).text().contains("a name is enough"));
    }
}
