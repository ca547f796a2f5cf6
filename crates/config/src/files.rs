//! Files that a config names: read once each, and parsed to what they must hold. An error is a predicate: the path
//! stands before it.

use crate::grammar::Content;
use model::target::PrivateKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

const MAX_CONFIG: u64 = 64 << 20;
const MAX_VALUE: u64 = 64 << 10;
const MAX_BODY: u64 = 64 << 20;
const MAX_PEM: u64 = 16 << 20;

/// What was read so far, so that a file that 100,000 targets share is read once.
#[derive(Default)]
pub(crate) struct Files {
    values: Cache<Arc<str>>,
    bodies: Cache<Arc<[u8]>>,
    certificates: Cache<Arc<[Vec<u8>]>>,
    keys: Cache<PrivateKey>,
}

type Cache<T> = BTreeMap<PathBuf, Result<T, String>>;

impl Files {
    /// Whether the file holds what it must.
    pub fn check(&mut self, path: &Path, content: Content) -> Result<(), String> {
        match content {
            Content::Value(rule) => self.value(path).and_then(|text| rule(&text)),
            Content::Body => self.body(path).map(drop),
            Content::Certificates => self.certificates(path).map(drop),
            Content::PrivateKey => self.key(path).map(drop),
        }
    }

    /// A text; one trailing line end is removed.
    pub fn value(&mut self, path: &Path) -> Result<Arc<str>, String> {
        once(&mut self.values, path, || {
            let text = read_text(path, MAX_VALUE)?;
            let line = text.strip_suffix('\n').map_or(&*text, |t| t.strip_suffix('\r').unwrap_or(t));
            Ok(line.into())
        })
    }

    pub fn body(&mut self, path: &Path) -> Result<Arc<[u8]>, String> {
        once(&mut self.bodies, path, || read_regular(path, MAX_BODY).map(Into::into))
    }

    /// Certificates in DER; at least one.
    pub fn certificates(&mut self, path: &Path) -> Result<Arc<[Vec<u8>]>, String> {
        once(&mut self.certificates, path, || {
            let pem = read_regular(path, MAX_PEM)?;
            let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            let list = list.map_err(|e| format!("is not a PEM file that can be read: {e}"))?;
            if list.is_empty() {
                return Err("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".to_owned());
            }
            Ok(list.iter().map(|c| c.to_vec()).collect())
        })
    }

    pub fn key(&mut self, path: &Path) -> Result<PrivateKey, String> {
        once(&mut self.keys, path, || {
            let pem = read_regular(path, MAX_PEM)?;
            match PrivateKeyDer::from_pem_slice(&pem) {
                Ok(PrivateKeyDer::Pkcs8(key)) => Ok(PrivateKey::Pkcs8(key.secret_pkcs8_der().into())),
                Ok(PrivateKeyDer::Pkcs1(key)) => Ok(PrivateKey::Pkcs1(key.secret_pkcs1_der().into())),
                Ok(PrivateKeyDer::Sec1(key)) => Ok(PrivateKey::Sec1(key.secret_sec1_der().into())),
                Ok(_) | Err(_) if is_encrypted(&pem) => {
                    Err("holds an encrypted key; give it without a passphrase".to_owned())
                }
                Ok(_) | Err(_) => Err("holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)".to_owned()),
            }
        })
    }

    /// Every path that was asked for, there or not.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let keys = self.values.keys().chain(self.bodies.keys()).chain(self.certificates.keys()).chain(self.keys.keys());
        keys.map(PathBuf::as_path)
    }
}

fn once<T: Clone>(cache: &mut Cache<T>, path: &Path, read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    if let Some(known) = cache.get(path) {
        return known.clone();
    }
    let result = read();
    cache.insert(path.to_owned(), result.clone());
    result
}

fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// The text of a config, an included one, or a `.env` file. A pipe will do.
pub(crate) fn read_config(path: &Path) -> Result<String, String> {
    read_text_of(File::open(path), MAX_CONFIG)
}

/// As [`read_config`], but a file that is not there is no mistake.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>, String> {
    match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => read_text_of(opened, MAX_CONFIG).map(Some),
    }
}

/// Whether it can be opened for reading.
pub(crate) fn check_readable(path: &Path) -> Result<(), String> {
    read_regular(path, MAX_PEM).map(drop)
}

fn read_text(path: &Path, limit: u64) -> Result<String, String> {
    utf8(read_regular(path, limit)?)
}

fn read_text_of(file: io::Result<File>, limit: u64) -> Result<String, String> {
    utf8(read_all(&file.map_err(|e| unreadable(&e))?, limit)?)
}

/// A pipe would block a reload for ever.
fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(path).map_err(|e| unreadable(&e))?;
    if !metadata.is_file() {
        return Err("cannot be read: it is not a regular file".to_owned());
    }
    read_all(&File::open(path).map_err(|e| unreadable(&e))?, limit)
}

fn read_all(file: &File, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| unreadable(&e))?;
    if bytes.len() as u64 > limit {
        return Err(format!("is larger than {}", crate::units::write_size(limit)));
    }
    Ok(bytes)
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    if text.contains('\0') { Err("is not a text: it holds a NUL byte".to_owned()) } else { Ok(text) }
}

fn unreadable(e: &io::Error) -> String {
    format!("cannot be read: {e}")
}
