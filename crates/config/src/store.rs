//! The `store` key: which database keeps the results.

use std::{
    fmt,
    path::{Path, PathBuf},
};
use url::Url;

/// Where results are stored.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreSetting {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A database of PostgreSQL. The URL may hold a password; the paths of its TLS files are those of its `ssl…`
    /// parameters.
    Postgres(Url),
}

/// The parameters of a store URL that name files.
pub(crate) const TLS_FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

impl fmt::Debug for StoreSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(url) => f.debug_tuple("Postgres").field(&model::text::masked_url(url)).finish(),
        }
    }
}

/// Reads `sqlite:FILE` (also `sqlite://FILE`) and `postgres://…`; paths stay as written.
pub(crate) fn parse(text: &str) -> Result<StoreSetting, String> {
    if text.chars().any(char::is_control) {
        return Err("holds a control character, like a line end".into());
    }
    let Some((scheme, rest)) = text.split_once(':') else { return Err(NEITHER.into()) };
    match scheme {
        "sqlite" => sqlite(rest.strip_prefix("//").unwrap_or(rest)),
        "postgres" | "postgresql" => postgres(text),
        _ => Err(NEITHER.into()),
    }
}

const NEITHER: &str = "is neither sqlite:FILE nor postgres://user:password@host/database";

fn sqlite(file: &str) -> Result<StoreSetting, String> {
    match file {
        "" => Err("names no file; write sqlite:lapwing.db".into()),
        ":memory:" => Err("would lose every result; write sqlite:FILE".into()),
        _ if file.contains('?') => Err("has options after a `?`; only the file can be set".into()),
        _ if file.ends_with('/') => Err("names a folder; write sqlite:FILE".into()),
        _ => Ok(StoreSetting::Sqlite(PathBuf::from(file))),
    }
}

fn postgres(text: &str) -> Result<StoreSetting, String> {
    const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
    let url = Url::parse(text).map_err(|e| format!("is not a URL like postgres://user:password@host/database: {e}"))?;
    let parameter = |name| url.query_pairs().find(|(k, _)| k == name).map(|(_, v)| v);
    if url.host_str().is_none_or(str::is_empty) && parameter("host").is_none() {
        return Err("has no host".into());
    }
    if let Some(mode) = parameter("sslmode")
        && !MODES.contains(&&*mode)
    {
        return Err(format!("has an sslmode that is none of {}", MODES.join(", ")));
    }
    Ok(StoreSetting::Postgres(url))
}

impl StoreSetting {
    /// The same with its files in this folder, where they are relative.
    pub(crate) fn within(self, folder: &Path) -> Self {
        match self {
            Self::Sqlite(path) => Self::Sqlite(folder.join(path)),
            Self::Postgres(mut url) => {
                let pairs: Vec<_> = url.query_pairs().into_owned().collect();
                if !pairs.is_empty() {
                    url.query_pairs_mut().clear().extend_pairs(pairs.into_iter().map(|(k, v)| {
                        let v = if is_file(&k, &v) { folder.join(v).display().to_string() } else { v };
                        (k, v)
                    }));
                }
                Self::Postgres(url)
            }
        }
    }

    /// The files that a store URL names beside the database, each with its parameter.
    pub(crate) fn tls_files(&self) -> Vec<(&'static str, PathBuf)> {
        let Self::Postgres(url) = self else { return Vec::new() };
        let file = |name: &'static str| {
            let (_, value) = url.query_pairs().find(|(k, v)| *k == *name && is_file(k, v))?;
            Some((name, PathBuf::from(&*value)))
        };
        TLS_FILES.into_iter().filter_map(file).collect()
    }
}

/// libpq takes `sslrootcert=system` for the system's own.
fn is_file(parameter: &str, value: &str) -> bool {
    TLS_FILES.contains(&parameter) && !(parameter == "sslrootcert" && value == "system")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_file_or_a_server() {
        for (text, file) in [
            ("sqlite:a.db", "a.db"),
            ("sqlite:/var/a.db", "/var/a.db"),
            ("sqlite:///var/a.db", "/var/a.db"),
            ("sqlite://a.db", "a.db"),
        ] {
            assert_eq!(parse(text), Ok(StoreSetting::Sqlite(file.into())), "{text}");
        }
        for text in [
            "postgres://u:p@h/db",
            "postgresql://h/db?sslmode=verify-full&sslrootcert=ca.pem",
            "postgres:///db?host=/run/postgresql",
        ] {
            assert!(matches!(parse(text), Ok(StoreSetting::Postgres(_))), "{text}");
        }
        for bad in [
            "",
            "lapwing.db",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a.db?mode=ro",
            "sqlite:a/",
            "mysql://h/db",
            "postgres:///db",
            "postgres://h/db?sslmode=maybe",
            "sqlite:a\n",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_files_of_a_store_are_relative_to_the_data_folder() {
        let store = parse("postgres://u:hunter2@h/db?sslrootcert=ca.pem&sslmode=require&sslkey=/k")
            .expect("sound")
            .within("/data".as_ref());
        assert_eq!(store.tls_files(), [("sslrootcert", "/data/ca.pem".into()), ("sslkey", "/k".into())]);
        assert!(!format!("{store:?}").contains("hunter2"));
        assert_eq!(parse("postgres://h/db?sslrootcert=system").expect("sound").tls_files(), []);
        assert_eq!(
            parse("sqlite:a.db").expect("sound").within("/data".as_ref()),
            StoreSetting::Sqlite("/data/a.db".into())
        );
    }
}
