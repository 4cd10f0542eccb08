//! Resolves `import` in configs: finds the module that a path means, and its source.
//!
//! The interpreter opens no files. It has only the sources of the request. To import another module is an
//! error; then the daemon reads the module and sends the request again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use rhai::{
    AST, ASTNode, Engine, EvalAltResult, Expr, GlobalRuntimeState, Module, OptimizationLevel, Position,
    Scope, Shared, Stmt,
};
use thiserror::Error;

use super::literals;
use super::mistake::{Mistake, Mistakes};
use super::recovery::recover;
use super::request::ModuleSource;

/// The suffix of every module file.
pub(super) const EXTENSION: &str = ".rhai";

/// The suffix of every schema file.
pub(super) const SCHEMA_EXTENSION: &str = ".json";

#[derive(Debug, Error, PartialEq, Eq)]
pub enum ImportError {
    #[error("cannot import {0:?}: an absolute path; name the module relative to the importing file")]
    Absolute(String),
    #[error("cannot import {0:?}: it lies outside the config directory")]
    Outside(String),
    #[error("cannot import {0:?}: this is not a valid name of a module")]
    Name(String),
}

/// Returns the module that an import of `path` means in the file `importer`. `importer` and the result are
/// paths below the config directory.
pub fn locate(importer: &str, path: &str) -> Result<String, ImportError> {
    if path.starts_with('/') {
        return Err(ImportError::Absolute(path.into()));
    }
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(ImportError::Name(path.into()));
    }
    let mut located = beside(importer, path).ok_or_else(|| ImportError::Outside(path.into()))?;
    if !located.ends_with(EXTENSION) {
        located.push_str(EXTENSION);
    }
    Ok(located)
}

/// Returns the schema that `path` means in the file `user`, as [`locate`] does for modules. The error follows
/// the key.
pub fn locate_schema(user: &str, path: &str) -> Result<String, String> {
    if path.starts_with('/') {
        return Err(format!(": {path:?} is an absolute path; name the file relative to this one"));
    }
    beside(user, path).ok_or_else(|| format!(": {path:?} lies outside the config directory"))
}

/// Returns the path below the config directory that `path` means in `file`, unless it lies outside.
fn beside(file: &str, path: &str) -> Option<String> {
    let mut components: Vec<&str> = file.split('/').collect();
    components.pop();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()?),
            name => components.push(name),
        }
    }
    Some(components.join("/"))
}

/// Resolves the imports of one evaluation. Clones share their state.
#[derive(Clone, Default)]
pub struct Resolver(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    sources: BTreeMap<String, ModuleSource>,
    compiled: BTreeMap<String, AST>,
    /// The code of the compiled modules before it was optimized.
    plain: Vec<(String, AST)>,
    /// The modules that are reported as missing or wrong. Empty ones take their places, so that the script
    /// goes on.
    broken: BTreeSet<String>,
    /// The errors of a module behind its first one.
    further: Vec<EvalAltResult>,
    mistakes: Mistakes,
    evaluated: BTreeMap<String, Shared<Module>>,
    /// The modules that are being evaluated. They cannot be imported.
    open: Vec<String>,
    missing: Option<String>,
}

impl Resolver {
    /// Forgets the previous evaluation and starts one with `sources`. Mistakes go to `mistakes`.
    pub fn begin(&self, sources: BTreeMap<String, ModuleSource>, mistakes: Mistakes) {
        *self.0.borrow_mut() = State { sources, mistakes, ..State::default() };
    }

    /// Returns the code of the modules that are compiled so far, before it was optimized.
    pub fn take_plain(&self) -> Vec<(String, AST)> {
        std::mem::take(&mut self.0.borrow_mut().plain)
    }

    /// Returns the text of the schema `located`, which may have to be read first. The error follows the key.
    pub fn schema(&self, located: &str) -> Result<Arc<str>, String> {
        let mut state = self.0.borrow_mut();
        match state.sources.get(located) {
            Some(Ok(text)) => Ok(text.clone()),
            Some(Err(reason)) => Err(format!(": {located}: {reason}")),
            None => {
                state.missing.get_or_insert_with(|| located.to_owned());
                Err(format!(": {located} is not loaded"))
            }
        }
    }

    /// Returns the first imported module whose source is missing, by its path below the config directory.
    pub fn missing(&self) -> Option<String> {
        self.0.borrow().missing.clone()
    }

    /// Returns the modules that are compiled so far, sorted by path.
    pub fn compiled(&self) -> Vec<(String, AST)> {
        self.0.borrow().compiled.iter().map(|(path, ast)| (path.clone(), ast.clone())).collect()
    }

    /// Adds to `global` the functions and modules that the functions of the module `located` see.
    pub fn enter(&self, located: &str, global: &mut GlobalRuntimeState) {
        let state = self.0.borrow();
        if let Some(ast) = state.compiled.get(located) {
            global.lib.push(ast.shared_lib().clone());
        }
        if let Some(module) = state.evaluated.get(located) {
            module
                .iter_sub_modules()
                .for_each(|(name, module)| global.push_import(name.to_owned(), module.clone()));
        }
    }

    /// Compiles every module that `ast`, the code of the file `importer`, names in an import, and the modules
    /// that these name. Imports within functions count, because no source is read when a function runs.
    ///
    /// Returns the errors of those that cannot be compiled, each with the file that has the import.
    pub fn preload(&self, engine: &Engine, importer: &str, ast: &AST) -> Vec<(String, Box<EvalAltResult>)> {
        let mut pending = vec![(importer.to_owned(), ast.clone())];
        let mut errors = Vec::new();
        while let Some((importer, ast)) = pending.pop() {
            for (path, position) in imports(&ast) {
                let located = match locate(&importer, &path) {
                    Ok(located) => located,
                    Err(error) => {
                        errors.push((importer.clone(), at(error, position)));
                        continue;
                    }
                };
                let is_known = {
                    let state = self.0.borrow();
                    state.compiled.contains_key(&located) || state.broken.contains(&located)
                };
                if is_known {
                    continue;
                }
                match self.compile(engine, &located, &path, position) {
                    Ok(ast) => pending.push((located, ast)),
                    Err(error) => {
                        let state = &mut *self.0.borrow_mut();
                        state.broken.insert(located);
                        errors.push((importer.clone(), error));
                        errors.extend(state.further.drain(..).map(|error| (importer.clone(), error.into())));
                    }
                }
            }
        }
        errors
    }

    /// Whether a module is missing or wrong.
    pub fn has_broken(&self) -> bool {
        !self.0.borrow().broken.is_empty()
    }

    fn compile(
        &self,
        engine: &Engine,
        located: &str,
        path: &str,
        position: Position,
    ) -> Result<AST, Box<EvalAltResult>> {
        if let Some(ast) = self.0.borrow().compiled.get(located) {
            return Ok(ast.clone());
        }
        let source = match self.0.borrow().sources.get(located).cloned() {
            Some(Ok(source)) => Ok(source),
            Some(Err(reason)) => Err(format!("cannot import {path:?}: {located}: {reason}")),
            None => Err(format!("cannot import {path:?}: {located} is not loaded")),
        };
        let source = source.map_err(|reason| {
            let mut state = self.0.borrow_mut();
            if !state.sources.contains_key(located) && state.missing.is_none() {
                state.missing = Some(located.to_owned());
            }
            at(reason, position)
        })?;
        let in_module = |error| Box::new(EvalAltResult::ErrorInModule(located.into(), error, position));
        for (position, reason) in literals::check(engine, &source) {
            self.0.borrow().mistakes.add(Mistake::new(located, position, reason));
        }
        let plain = engine.compile(&*source).map_err(|error| {
            let found = recover(engine, &source).map_or_else(Vec::new, |it| it.errors);
            let mut found = found.into_iter();
            let first = found.next().unwrap_or(error);
            self.0.borrow_mut().further.extend(found.map(|error| *in_module(error.into())));
            in_module(first.into())
        })?;
        let mut ast = optimize(engine, plain.clone());
        ast.set_source(located);
        let mut state = self.0.borrow_mut();
        state.plain.push((located.to_owned(), plain));
        state.compiled.insert(located.to_owned(), ast.clone());
        Ok(ast)
    }
}

impl rhai::ModuleResolver for Resolver {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let located = locate(source.unwrap_or(""), path).map_err(|error| at(error, position))?;
        if let Some(module) = self.0.borrow().evaluated.get(&located) {
            return Ok(module.clone());
        }
        if self.0.borrow().broken.contains(&located) {
            return Ok(Shared::new(Module::new()));
        }
        let ast = self.compile(engine, &located, path, position)?;
        if self.0.borrow().open.contains(&located) {
            return Err(at(format!("cannot import {path:?}: {located} imports itself"), position));
        }
        self.0.borrow_mut().open.push(located.clone());
        let module = Module::eval_ast_as_new(Scope::new(), &ast, engine);
        self.0.borrow_mut().open.pop();
        let module: Shared<Module> = module
            .map_err(|error| Box::new(EvalAltResult::ErrorInModule(located.clone(), error, position)))?
            .into();
        self.0.borrow_mut().evaluated.insert(located, module.clone());
        Ok(module)
    }
}

/// Optimizes code as the interpreter does when it compiles. The fingerprints of functions depend on it.
pub(super) fn optimize(engine: &Engine, plain: AST) -> AST {
    engine.optimize_ast(&Scope::new(), plain, OptimizationLevel::Simple)
}

fn at(reason: impl ToString, position: Position) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(reason.to_string().into(), position))
}

/// Returns the imports whose path is a literal.
fn imports(ast: &AST) -> Vec<(String, Position)> {
    let mut found = Vec::new();
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = path.last()
            && let Expr::StringConstant(path, position) = &import.0
        {
            found.push((path.to_string(), *position));
        }
        true
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_stay_below_the_config_directory() {
        for (importer, path, expected) in [
            ("git.twc", "lib", Ok("lib.rhai")),
            ("git.twc", "lib.rhai", Ok("lib.rhai")),
            ("git.twc", "./sub/lib", Ok("sub/lib.rhai")),
            ("team/git.twc", "lib", Ok("team/lib.rhai")),
            ("team/git.twc", "../lib", Ok("lib.rhai")),
            ("git.twc", "../lib", Err(ImportError::Outside("../lib".into()))),
            ("git.twc", "a/../../lib", Err(ImportError::Outside("a/../../lib".into()))),
            ("git.twc", "/etc/passwd", Err(ImportError::Absolute("/etc/passwd".into()))),
            ("git.twc", "", Err(ImportError::Name("".into()))),
            ("git.twc", "lib/", Err(ImportError::Name("lib/".into()))),
        ] {
            assert_eq!(locate(importer, path), expected.map(str::to_owned), "{importer} {path}");
        }
    }
}
