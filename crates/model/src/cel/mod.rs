//! Expressions in CEL over a complete answer: read and checked when the config is loaded, evaluated when the answer is there.
//!
//! The language's library knows neither names nor a limit of work, so both are seen to here: what an expression may name and
//! how often it may loop ([`names`]), what it is given ([`variables`]), and when it has taken too long.

mod names;
mod variables;

use crate::{
    answer::{Head, KeptBody},
    pattern::HeaderPattern,
};
use cel::{
    Context, Env, ExecutionError, IdedExpr, Value,
    common::{types::CelBool, value::CowVal},
    context::VariableResolver,
    extractors::This,
};
use names::Names;
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use variables::Variables;

/// Bytes of a body that an expression may read.
pub const MAX_BODY: usize = 1 << 20;

/// The longest text of an expression: its parser goes as deep as the text makes it.
const LONGEST: usize = 4 << 10;

/// Types, functions and operators. Without optional values, which nobody here asked for.
static LIBRARY: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// An expression that names only what there is. Equal texts should share one value.
pub struct Expression {
    text: String,
    tree: IdedExpr,
    uses: Uses,
    /// The patterns of its `matches`, compiled once.
    patterns: Arc<HashMap<String, HeaderPattern>>,
}

/// Which parts of a body an expression reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    pub text: bool,
    pub json: bool,
}

/// Why a text is no expression that can be used; a predicate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadExpression(String);

/// What an expression says of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    True,
    False,
    /// Why it says nothing. Holds no value of the answer's: a body may hold secrets.
    Failed(String),
}

/// What each of these expressions says of a complete answer. The body is read as JSON once for all of them.
///
/// `give_up` is asked whenever a variable is, and so ends what takes too long.
pub fn evaluate(
    expressions: Vec<Arc<Expression>>,
    head: &Head,
    body: Option<&KeptBody>,
    total: Duration,
    give_up: &(dyn Fn() -> bool + Sync),
) -> Vec<(Arc<Expression>, Outcome)> {
    let uses = expressions.iter().fold(Uses::default(), |all, e| all.and(e.uses));
    let variables = Variables::new(head, body, total, uses);
    let outcome = |e: Arc<Expression>| {
        let outcome = e.evaluate(&variables, give_up);
        (e, outcome)
    };
    expressions.into_iter().map(outcome).collect()
}

impl Uses {
    pub fn any(self) -> bool {
        self.text || self.json
    }

    fn and(self, other: Self) -> Self {
        Self { text: self.text || other.text, json: self.json || other.json }
    }
}

impl Expression {
    /// # Errors
    /// What is wrong with it: its syntax, a name that is not known, more work than may be asked for.
    pub fn new(text: &str) -> Result<Self, BadExpression> {
        if text.len() > LONGEST {
            return Err(BadExpression(format!("is too long an expression: it has more than {LONGEST} bytes")));
        }
        let tree = LIBRARY.parser().parse(text).map_err(|e| {
            let what =
                e.errors.first().map_or_else(String::new, |e| format!(", at {}:{}: {}", e.pos.0, e.pos.1, e.msg));
            BadExpression(crate::text::message(&format!("is no expression of CEL{what}")))
        })?;
        let Names { uses, patterns } = names::check(&tree).map_err(BadExpression)?;
        Ok(Self { text: text.to_owned(), tree, uses, patterns: Arc::new(patterns) })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn uses(&self) -> Uses {
        self.uses
    }

    fn evaluate(&self, variables: &Variables<'_>, give_up: &(dyn Fn() -> bool + Sync)) -> Outcome {
        if self.uses.any() && variables.is_too_large() {
            return failed("the body has more than 1 MiB, and an expression may read no more");
        }
        let given = Given { variables, give_up, gave_up: AtomicBool::new(false) };
        let mut context = Context::with_env(Arc::clone(&LIBRARY));
        context.set_variable_resolver(&given);
        let patterns = Arc::clone(&self.patterns);
        let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            patterns.get(&*pattern).is_some_and(|p| p.is_match(text.as_bytes()))
        };
        context.add_function("matches", matches).expect("the library is built without a `matches`");
        let value = Value::resolve_val(&self.tree, &context);
        if given.gave_up.load(Ordering::Relaxed) {
            return failed("it took too long");
        }
        match value {
            Ok(value) => outcome(&value),
            Err(e) => failed(&self.why(&e, variables)),
        }
    }

    /// In words that hold no value: not of a body, which may hold secrets.
    fn why(&self, error: &ExecutionError, variables: &Variables<'_>) -> String {
        match error {
            ExecutionError::NoSuchKey(key) if key.as_str() == "json" && variables.not_json().is_some() => {
                format!("the body is not JSON ({})", variables.not_json().unwrap_or_default())
            }
            ExecutionError::NoSuchKey(key) if self.text.contains(key.as_str()) => format!("there is no `{key}`"),
            ExecutionError::NoSuchKey(_) => "a key is not there".into(),
            ExecutionError::NoSuchOverload(e) => {
                format!("`{}` can't be used on {}", e.function().trim_matches('_'), e.argument_types().join(" and "))
            }
            ExecutionError::UnexpectedType { want, .. } if want == "Arc<String>" => "a value is no string".into(),
            ExecutionError::UnexpectedType { want, .. } => format!("a value is no {want}"),
            ExecutionError::ValuesNotComparable(..) => "its values can't be compared".into(),
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "it divides by zero".into(),
            ExecutionError::Overflow(..) => "a number is too large".into(),
            ExecutionError::IndexOutOfBounds(_) => "an index is outside of its list".into(),
            ExecutionError::DuplicateKey(_) => "a key stands twice in a map".into(),
            ExecutionError::FunctionError { function, .. } => format!("`{function}` can't use the value it is given"),
            ExecutionError::UnsupportedBinaryOperator(name, ..) => format!("`{name}` can't be used on its values"),
            _ => "its values can't be used so".into(),
        }
    }
}

fn outcome(value: &CowVal<'_, '_>) -> Outcome {
    match value.downcast_ref::<CelBool>() {
        Some(holds) if *holds.inner() => Outcome::True,
        Some(_) => Outcome::False,
        None => failed(&format!("its result is neither true nor false, but of type {}", value.get_type().name())),
    }
}

fn failed(why: &str) -> Outcome {
    Outcome::Failed(why.to_owned())
}

/// What an expression is given, for as long as somebody waits for it.
struct Given<'a> {
    variables: &'a Variables<'a>,
    give_up: &'a (dyn Fn() -> bool + Sync),
    gave_up: AtomicBool,
}

impl VariableResolver for Given<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let value = self.variables.get(variable)?;
        if (self.give_up)() {
            self.gave_up.store(true, Ordering::Relaxed);
            return None;
        }
        Some(CowVal::Borrowed(value))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests;
