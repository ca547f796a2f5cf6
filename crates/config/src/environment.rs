//! The variables that `${NAME}` is replaced from: the process's environment, and the `.env` file beside the config.

use std::{collections::HashMap, fmt};

/// Variables by name. Tests make their own; only [`Environment::of_process`] looks at the real one.
#[derive(Clone, Default)]
pub struct Environment {
    /// `None`: it is set, to something that is not UTF-8.
    variables: HashMap<String, Option<String>>,
}

impl Environment {
    pub fn of_process() -> Self {
        let named = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()))
        };
        Self { variables: std::env::vars_os().filter_map(named).collect() }
    }

    /// `Err` says what is wrong with the variable, without its value.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, &'static str> {
        match self.variables.get(name) {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err("is not UTF-8 text"),
        }
    }

    /// Adds what is not there yet: the environment wins over a file. Of a name that stands in it twice the last counts, as
    /// in a shell.
    pub(crate) fn add_missing(&mut self, more: Vec<(String, String)>) {
        for (name, value) in more.into_iter().rev() {
            self.variables.entry(name).or_insert(Some(value));
        }
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self { variables: pairs.into_iter().map(|(k, v)| (k.into(), Some(v.into()))).collect() }
    }
}

/// Names only: the values are where secrets live.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.variables.keys().collect();
        names.sort();
        f.debug_tuple("Environment").field(&names).finish()
    }
}

/// A line of a `.env` file that is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    pub line: u32,
    pub message: &'static str,
}

/// Reads `NAME=value` lines: `#` comments, an `export` in front, `'as it is'`, `"with \n \" \\ \$"`. Nothing is
/// replaced in the values, so that the same text means the same for every reader of such files.
pub(crate) fn parse_env_file(text: &str) -> (Vec<(String, String)>, Vec<BadLine>) {
    let (mut pairs, mut bad) = (Vec::new(), Vec::new());
    for (line, number) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().zip(1..) {
        match parse_line(line) {
            Ok(pair) => pairs.extend(pair),
            Err(message) => bad.push(BadLine { line: number, message }),
        }
    }
    (pairs, bad)
}

fn parse_line(line: &str) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=').ok_or("is not of the form NAME=value")?;
    let name = name.trim_end();
    if !is_name(name) {
        return Err("has no name of letters, digits and _ before the =");
    }
    Ok(Some((name.to_owned(), parse_value(value.trim_start())?)))
}

fn parse_value(value: &str) -> Result<String, &'static str> {
    if let Some(rest) = value.strip_prefix('\'') {
        let (inner, after) = rest.split_once('\'').ok_or("has a quote that does not end on its line")?;
        return nothing_but_a_comment(after).map(|()| inner.to_owned());
    }
    let Some(rest) = value.strip_prefix('"') else {
        let end = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
        return Ok(if value.starts_with('#') { "" } else { value[..end].trim_end() }.to_owned());
    };
    let mut out = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next().ok_or("has a quote that does not end on its line")? {
            '"' => return nothing_but_a_comment(chars.as_str()).map(|()| out),
            '\\' => match chars.next().ok_or("has a quote that does not end on its line")? {
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                c @ ('"' | '\\' | '$' | '`') => out.push(c),
                c => out.extend(['\\', c]),
            },
            c => out.push(c),
        }
    }
}

fn nothing_but_a_comment(rest: &str) -> Result<(), &'static str> {
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') { Ok(()) } else { Err("has text after its closing quote") }
}

/// Whether a variable may have this name.
pub(crate) fn is_name(s: &str) -> bool {
    let b = s.as_bytes();
    matches!(b.first(), Some(b'a'..=b'z' | b'A'..=b'Z' | b'_'))
        && b.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_and_a_value() {
        let text = concat!(
            "\u{feff}# comment\n\nA=1\nexport B = two words  # why\n",
            "C='as $it is' # x\nD=\"a\\nb\\\"\\$\"\nE=\nF=#\nG=a#b\r\n",
        );
        let (pairs, bad) = parse_env_file(text);
        assert_eq!(bad, []);
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let want =
            [("A", "1"), ("B", "two words"), ("C", "as $it is"), ("D", "a\nb\"$"), ("E", ""), ("F", ""), ("G", "a#b")];
        assert_eq!(pairs, want);
    }

    #[test]
    fn a_bad_line_is_named_without_what_it_holds() {
        let (pairs, bad) = parse_env_file("A=1\nhunter2\n1B=hunter2\nC='hunter2\nD=\"hunter2\nE='a' b");
        assert_eq!(pairs.len(), 1);
        assert_eq!(bad.iter().map(|b| b.line).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert!(!format!("{bad:?}").contains("hunter2"));
    }

    #[test]
    fn debug_shows_names_and_no_value() {
        let shown = format!("{:?}", Environment::from_iter([("PASSWORD", "hunter2")]));
        assert_eq!(shown, r#"Environment(["PASSWORD"])"#);
    }
}
