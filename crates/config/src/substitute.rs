//! `${NAME}`, `${NAME:-default}` and `$$` in the values of a config.

use crate::environment::{Environment, is_name};
use std::borrow::Cow;

/// A text whose references were replaced.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Substituted {
    pub text: String,
    /// How a message speaks of the text, since its value may be secret: `the value of ${NAME}`. `None`: nothing in it
    /// came from a variable.
    pub origin: Option<String>,
}

/// So many variables of one text are named by a message.
const NAMED: usize = 8;

/// A `$` that is not followed by `{` or `$` is itself. What a variable holds is not looked at again.
///
/// # Errors
/// What is wrong, with the name and without any value.
pub(crate) fn substitute(text: &str, variables: &Environment) -> Result<Substituted, String> {
    let mut out = String::with_capacity(text.len());
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let (inner, after) =
                after.split_once('}').ok_or("has a `${` without its `}`; a dollar before a brace is written `$$`")?;
            let (name, value) = look_up(inner, variables)?;
            out.push_str(&value);
            if !names.contains(&name) && names.len() < NAMED {
                names.push(name);
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(Substituted { text: out, origin: origin(text, &names) })
}

fn look_up<'a>(inner: &'a str, variables: &'a Environment) -> Result<(&'a str, Cow<'a, str>), String> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if !is_name(name) {
        return Err(
            "has a `${…}` that is not `${NAME}` or `${NAME:-default}`; a dollar before a brace is written `$$`".into(),
        );
    }
    let value = variables.get(name).map_err(|why| format!("uses ${{{name}}}, which {why}"))?;
    match (value, default) {
        // A default is a part of what is written.
        (Some("") | None, Some(default)) => Ok((name, default.replace("$$", "$").into())),
        (Some(value), _) => Ok((name, value.into())),
        (None, None) => Err(format!(
            "uses ${{{name}}}, which is not set and has no default; \
             set it in the environment or in .env, or write ${{{name}:-default}}"
        )),
    }
}

fn origin(written: &str, names: &[&str]) -> Option<String> {
    let first = names.first()?;
    let whole = written.starts_with("${") && written.find('}') == Some(written.len() - 1);
    let list = names.iter().skip(1).fold(format!("${{{first}}}"), |list, n| format!("{list}, ${{{n}}}"));
    Some(format!("the value {} {list}", if whole { "of" } else { "made with" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let variables = Environment::from_iter([("A", "1"), ("B", "${A}"), ("EMPTY", "")]);
        assert_eq!(substitute(text, &variables).map(|s| s.text), Ok(want.to_owned()), "{text}");
    }

    #[test]
    fn references_are_replaced_once() {
        check("${A}", "1");
        check("x${A}y${B}", "x1y${A}");
        check("${C:-d}", "d");
        check("${C:-}", "");
        check("${EMPTY:-d}", "d");
        check("${EMPTY}", "");
        check("${A:-d}", "1");
        check("${C:-d$$e$}", "d$e$");
    }

    #[test]
    fn a_dollar_is_itself_unless_a_brace_or_a_dollar_follows() {
        check("^a$", "^a$");
        check("$A $1 $", "$A $1 $");
        check("$$", "$");
        check("$${A}", "${A}");
        check("$$$${A}", "$${A}");
    }

    #[test]
    fn a_reference_that_is_wrong_is_named_by_its_name() {
        let variables = Environment::from_iter([("A", "hunter2")]);
        for (text, names) in [
            ("${NOT_SET}", "${NOT_SET}"),
            ("${A", "without"),
            ("${}", "NAME"),
            ("${A-x}", "NAME"),
            ("a{2} ${2}", "NAME"),
        ] {
            let why = substitute(text, &variables).expect_err(text);
            assert!(why.contains(names) && !why.contains("hunter2"), "{text}: {why}");
        }
    }

    #[test]
    fn a_message_speaks_of_the_variable() {
        let variables = Environment::from_iter([("A", "1"), ("B", "2")]);
        let origin = |text| substitute(text, &variables).expect("sound").origin;
        assert_eq!(origin("${A}").as_deref(), Some("the value of ${A}"));
        assert_eq!(origin("${A}:${B}").as_deref(), Some("the value made with ${A}, ${B}"));
        assert_eq!(origin("$$"), None);
    }
}
