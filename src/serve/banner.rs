//! What a person sees when the server is up.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use rookery_cluster::Role;

use crate::config::{Config, Installation};

/// Where the process stands.
#[derive(Debug)]
pub(super) enum Place {
    /// Alone, with its data here.
    Alone(PathBuf),
    /// In a cluster.
    Cluster {
        node: String,
        roles: Vec<&'static str>,
    },
}

impl Place {
    pub(super) fn of(config: &Config) -> Self {
        match &config.installation {
            Installation::Embedded => Self::Alone(config.data.clone()),
            Installation::Cluster(cluster) => Self::Cluster {
                node: cluster.node.clone(),
                roles: [Role::Gateway, Role::Rooms, Role::Presence]
                    .into_iter()
                    .filter(|role| cluster.roles.has(*role))
                    .map(Role::as_str)
                    .collect(),
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone(data) => write!(f, "{}", data.display()),
            Self::Cluster { node, roles } => {
                write!(f, "{node} of a cluster: {}", roles.join(", "))
            }
        }
    }
}

/// What is told.
#[derive(Debug)]
pub(super) struct Banner<'a> {
    /// Where clients connect, if they do.
    pub(super) url: Option<&'a str>,
    pub(super) admin: &'a str,
    pub(super) place: &'a Place,
    pub(super) durability: Option<&'a str>,
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
        if let Some(url) = self.url {
            line("open", &format!("{url}/"));
        }
        line(
            "admin",
            &format!("{}/ (healthz, readyz, metrics)", self.admin),
        );
        match self.place {
            Place::Alone(_) => line("data", &self.place.to_string()),
            Place::Cluster { .. } => line("node", &self.place.to_string()),
        }
        if let Some(durability) = self.durability {
            line("durable", durability);
        }
        if self.url.is_none() {
            line("mode", "no clients connect here");
        } else if self.dev {
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
        let place = Place::Alone("./rookery-data".into());
        let banner = |dev| Banner {
            url: Some("http://127.0.0.1:8080"),
            admin: "http://127.0.0.1:9090",
            place: &place,
            durability: Some("one fsync per commit"),
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
