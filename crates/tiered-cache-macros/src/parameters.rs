//! The parameters of a function, and which of them an expression uses.

use proc_macro2::Span;
use syn::{
    Error, Expr, ExprPath, FnArg, Ident, Pat, PatIdent, Result, Signature,
    visit::{self, Visit},
};

use crate::near::near;

/// The names that the function binds.
pub(crate) struct Parameters {
    names: Vec<Ident>,
    function: String,
}

impl Parameters {
    pub(crate) fn of(signature: &Signature) -> Self {
        let mut names = Names(Vec::new());
        for input in &signature.inputs {
            names.visit_fn_arg(input);
        }
        Self {
            names: names.0,
            function: signature.ident.to_string(),
        }
    }

    /// The expression must begin with a parameter, or with a constant.
    pub(crate) fn check(&self, expression: &Expr, at: Span) -> Result<()> {
        let Some(root) = root(expression) else {
            return Ok(());
        };
        let text = root.to_string();
        let constant = text.chars().next().is_some_and(char::is_uppercase);
        if constant || self.names.contains(&root) {
            return Ok(());
        }
        let names: Vec<String> = self.names.iter().map(Ident::to_string).collect();
        let meant = near(&text, names.iter().map(String::as_str))
            .map(|near| format!(", did you mean `{near}`?"))
            .unwrap_or_default();
        let message = format!("`{text}` is no parameter of `{}`{meant}", self.function);
        Err(Error::new(at, message))
    }
}

/// The names of the parameters that the expressions use, `self` among them.
pub(crate) fn used<'a>(expressions: impl IntoIterator<Item = &'a Expr>) -> Vec<Ident> {
    let mut paths = Paths(Vec::new());
    for expression in expressions {
        paths.visit_expr(expression);
    }
    paths.0
}

/// Whether the parameter binds one of the names.
pub(crate) fn binds(input: &FnArg, names: &[Ident]) -> bool {
    let mut bound = Names(Vec::new());
    bound.visit_fn_arg(input);
    bound.0.iter().any(|name| names.contains(name))
}

/// The name that a chain of fields, methods and references begins with.
fn root(expression: &Expr) -> Option<Ident> {
    match expression {
        Expr::Path(path) => path.path.get_ident().cloned(),
        Expr::Field(field) => root(&field.base),
        Expr::MethodCall(call) => root(&call.receiver),
        Expr::Index(index) => root(&index.expr),
        Expr::Reference(reference) => root(&reference.expr),
        Expr::Unary(unary) => root(&unary.expr),
        Expr::Paren(paren) => root(&paren.expr),
        _ => None,
    }
}

struct Names(Vec<Ident>);

impl<'a> Visit<'a> for Names {
    fn visit_receiver(&mut self, receiver: &'a syn::Receiver) {
        self.0.push(Ident::from(receiver.self_token));
    }

    fn visit_pat(&mut self, pattern: &'a Pat) {
        if let Pat::Ident(PatIdent { ident, .. }) = pattern {
            self.0.push(ident.clone());
        }
        visit::visit_pat(self, pattern);
    }
}

struct Paths(Vec<Ident>);

impl<'a> Visit<'a> for Paths {
    fn visit_expr_path(&mut self, path: &'a ExprPath) {
        self.0.extend(path.path.get_ident().cloned());
        visit::visit_expr_path(self, path);
    }

    /// The parts of a macro such as `format!` are not known: every name in it counts.
    fn visit_macro(&mut self, node: &'a syn::Macro) {
        idents(node.tokens.clone(), &mut self.0);
    }
}

fn idents(tokens: proc_macro2::TokenStream, names: &mut Vec<Ident>) {
    for token in tokens {
        match token {
            proc_macro2::TokenTree::Ident(name) => names.push(name),
            proc_macro2::TokenTree::Group(group) => idents(group.stream(), names),
            proc_macro2::TokenTree::Literal(text) => inline(&text, names),
            proc_macro2::TokenTree::Punct(_) => {}
        }
    }
}

/// `format!("{id}")` names `id` inside its text.
fn inline(text: &proc_macro2::Literal, names: &mut Vec<Ident>) {
    let text = text.to_string();
    let places = text.split('{').skip(1);
    for place in places {
        let name: String = place
            .chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect();
        if let Ok(name) = syn::parse_str::<Ident>(&name) {
            names.push(name);
        }
    }
}
