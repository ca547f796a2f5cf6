//! What an expression may name, and how much work it may ask for: a walk over its tree when the config is loaded.

use super::Uses;
use crate::pattern::HeaderPattern;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use std::collections::HashMap;

const VARIABLES: [&str; 4] = ["status", "headers", "body", "time_ms"];
const PARTS_OF_BODY: [&str; 2] = ["text", "json"];
/// What `type(x)` may be compared with.
const TYPES: [&str; 10] = ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"];

/// Functions, how they are written, and the numbers of values that they take: as `f(x)` and as `x.f()`.
const FUNCTIONS: [Function; 19] = [
    function("size", "size(x) or x.size()", Some(1), Some(0)),
    function("contains", "text.contains(part)", None, Some(1)),
    function("startsWith", "text.startsWith(part)", None, Some(1)),
    function("endsWith", "text.endsWith(part)", None, Some(1)),
    function("matches", "text.matches('pattern')", Some(2), Some(1)),
    function("int", "int(x)", Some(1), None),
    function("uint", "uint(x)", Some(1), None),
    function("double", "double(x)", Some(1), None),
    function("string", "string(x)", Some(1), None),
    function("bool", "bool(x)", Some(1), None),
    function("bytes", "bytes(x)", Some(1), None),
    function("type", "type(x)", Some(1), None),
    function("dyn", "dyn(x)", Some(1), None),
    // What the parser takes for a loop or a test of presence is none of these any more: here they are written in another way.
    function("has", "has(x.y)", None, None),
    function("all", "list.all(item, condition)", None, None),
    function("exists", "list.exists(item, condition)", None, None),
    function("exists_one", "list.exists_one(item, condition)", None, None),
    function("map", "list.map(item, value)", None, None),
    function("filter", "list.filter(item, condition)", None, None),
];

const COMPARISONS: [&str; 6] = ["_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"];

/// Steps from the root of an expression to its leaves: evaluating goes as deep on the stack.
const DEEPEST: usize = 100;

struct Function {
    name: &'static str,
    written: &'static str,
    global: Option<usize>,
    member: Option<usize>,
}

const fn function(name: &'static str, written: &'static str, global: Option<usize>, member: Option<usize>) -> Function {
    Function { name, written, global, member }
}

/// What an expression was found to name.
pub struct Names {
    pub uses: Uses,
    pub patterns: HashMap<String, HeaderPattern>,
}

/// # Errors
/// A predicate: what it names that is not there, or asks for that it may not.
pub fn check(tree: &IdedExpr) -> Result<Names, String> {
    let mut walk = Walk {
        found: Names { uses: Uses::default(), patterns: HashMap::new() },
        items: Vec::new(),
        loops: 0,
        depth: 0,
    };
    walk.expression(tree)?;
    Ok(walk.found)
}

struct Walk<'e> {
    found: Names,
    /// Names that a loop around this place gives to its items.
    items: Vec<&'e str>,
    loops: usize,
    depth: usize,
}

impl<'e> Walk<'e> {
    fn expression(&mut self, at: &'e IdedExpr) -> Result<(), String> {
        if self.depth == DEEPEST {
            return Err("is nested too deeply".into());
        }
        self.depth += 1;
        match &at.expr {
            Expr::Literal(_) => {}
            Expr::Ident(name) => self.name(name)?,
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) if name == "body" && !self.is_item(name) => self.part_of_body(&select.field)?,
                _ => self.expression(&select.operand)?,
            },
            Expr::Call(call) => self.call(call)?,
            Expr::Comprehension(c) => self.comprehension(c)?,
            Expr::List(list) => list.elements.iter().try_for_each(|e| self.expression(e))?,
            Expr::Map(map) => map.entries.iter().try_for_each(|e| match &e.expr {
                EntryExpr::MapEntry(entry) => self.expression(&entry.key).and_then(|()| self.expression(&entry.value)),
                EntryExpr::StructField(field) => self.expression(&field.value),
            })?,
            Expr::Struct(s) => return Err(format!("makes a message `{}`, and there are none", s.type_name)),
            Expr::Unspecified => return Err("is no expression of CEL".into()),
        }
        self.depth -= 1;
        Ok(())
    }

    fn name(&mut self, name: &str) -> Result<(), String> {
        if name == "body" && !self.is_item(name) {
            self.found.uses = Uses { text: true, json: true };
        }
        if VARIABLES.contains(&name) || TYPES.contains(&name) || self.is_item(name) {
            return Ok(());
        }
        Err(unknown("variable", name, &VARIABLES))
    }

    fn part_of_body(&mut self, part: &str) -> Result<(), String> {
        match part {
            "text" => self.found.uses.text = true,
            "json" => self.found.uses.json = true,
            _ => return Err(unknown("part of `body`", part, &PARTS_OF_BODY)),
        }
        Ok(())
    }

    fn call(&mut self, call: &'e CallExpr) -> Result<(), String> {
        // Operators are calls too, of names that can't be written.
        if call.func_name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            self.function(call)?;
        } else if let ([a, b], true) = (&call.args[..], COMPARISONS.contains(&call.func_name.as_str())) {
            alike(a, b)?;
        }
        call.target.iter().try_for_each(|target| self.expression(target))?;
        call.args.iter().try_for_each(|value| self.expression(value))
    }

    fn function(&mut self, call: &CallExpr) -> Result<(), String> {
        let Some(known) = FUNCTIONS.iter().find(|f| f.name == call.func_name) else {
            return Err(unknown("function", &call.func_name, &FUNCTIONS.each_ref().map(|f| f.name)));
        };
        let takes = if call.target.is_some() { known.member } else { known.global };
        if takes != Some(call.args.len()) {
            return Err(format!(
                "uses `{}` in a way that it can't be used; it is written {}",
                known.name, known.written
            ));
        }
        if known.name == "matches" { self.pattern(call) } else { Ok(()) }
    }

    /// A pattern stands in the expression, so that it is compiled once, and is never what a site sends.
    fn pattern(&mut self, call: &CallExpr) -> Result<(), String> {
        let Some(Expr::Literal(LiteralValue::String(pattern))) = call.args.last().map(|a| &a.expr) else {
            return Err(
                "uses `matches` with a pattern that does not stand in it; it is written text.matches('pattern')".into(),
            );
        };
        let compiled =
            HeaderPattern::new(pattern.inner()).map_err(|e| format!("has a pattern that can't be used: {e}"))?;
        self.found.patterns.insert(pattern.inner().to_owned(), compiled);
        Ok(())
    }

    fn comprehension(&mut self, c: &'e ComprehensionExpr) -> Result<(), String> {
        self.loops += 1;
        if self.loops > 1 {
            return Err("loops more than once; of all, exists, exists_one, map and filter it may use one, once".into());
        }
        if let Some(name) = [Some(&c.iter_var), c.iter_var2.as_ref()].into_iter().flatten().find(|n| is_taken(n)) {
            return Err(format!("calls an item `{name}`, which is the name of something else"));
        }
        self.expression(&c.iter_range)?;
        self.expression(&c.accu_init)?;
        let outside = self.items.len();
        self.items.extend([&c.accu_var, &c.iter_var].map(String::as_str));
        self.items.extend(c.iter_var2.as_deref());
        [&c.loop_cond, &c.loop_step, &c.result].into_iter().try_for_each(|e| self.expression(e))?;
        self.items.truncate(outside);
        Ok(())
    }

    fn is_item(&self, name: &str) -> bool {
        self.items.contains(&name)
    }
}

/// That two sides of a comparison may be alike, as far as that is known before there is an answer: CEL takes a text for other
/// than every number, so that `!=` between them would always hold.
fn alike(a: &IdedExpr, b: &IdedExpr) -> Result<(), String> {
    match (kind(a), kind(b)) {
        (Some(a), Some(b)) if a != b => Err(format!("compares {a} with {b}")),
        _ => Ok(()),
    }
}

/// What a value is, where that does not depend on what a site sends.
fn kind(at: &IdedExpr) -> Option<&'static str> {
    let is = |e: &IdedExpr, variable: &str| matches!(&e.expr, Expr::Ident(name) if name == variable);
    let (number, text, truth) = (Some("a number"), Some("a text"), Some("a truth"));
    match &at.expr {
        Expr::Literal(literal) => match literal {
            LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_) => number,
            LiteralValue::String(_) => text,
            LiteralValue::Boolean(_) => truth,
            LiteralValue::Null => Some("null"),
            LiteralValue::Bytes(_) => None,
        },
        Expr::Ident(name) if name == "status" || name == "time_ms" => number,
        Expr::Select(s) if s.test => truth,
        Expr::Select(s) if is(&s.operand, "headers") || (is(&s.operand, "body") && s.field == "text") => text,
        Expr::Call(call) => match (call.func_name.as_str(), &call.args[..]) {
            ("_[_]", [of, _]) if is(of, "headers") => text,
            ("size" | "int" | "uint" | "double", _) => number,
            ("string", _) => text,
            ("contains" | "startsWith" | "endsWith" | "matches" | "bool", _) => truth,
            _ => None,
        },
        _ => None,
    }
}

fn is_taken(name: &str) -> bool {
    VARIABLES.contains(&name) || TYPES.contains(&name)
}

fn unknown(what: &str, name: &str, known: &[&'static str]) -> String {
    let distance = |n: &&&str| strsim::damerau_levenshtein(&name.to_ascii_lowercase(), &n.to_ascii_lowercase());
    let nearest = known.iter().min_by_key(distance).copied().unwrap_or_default();
    let others: Vec<_> = known.iter().copied().filter(|n| *n != nearest).collect();
    format!(
        "names `{name}`, and no {what} has that name; the nearest known one is `{nearest}` (the others: {})",
        others.join(", ")
    )
}
