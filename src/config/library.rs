//! The functions of the interpreter's library.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};

use rhai::packages::{Package, StandardPackage};
use rhai::{
    Array, Blob, Dynamic, FLOAT, FnPtr, FuncRegistration, INT, ImmutableString, Instant, Map, Module,
    NativeCallContext, RhaiFunc, Shared,
};

use crate::config::vocabulary::FUNCTIONS;

/// Functions that the interpreter itself performs.
const BUILT_IN: [&str; 11] = [
    "Fn",
    "call",
    "curry",
    "debug",
    "eval",
    "is_def_fn",
    "is_def_var",
    "is_shared",
    "print",
    "type_of",
    "import",
];

/// Functions and methods of rhai-fs and rhai-process, which take values of their own types.
const METHODS: [&str; 21] = [
    "add",
    "allow_exit_codes",
    "build",
    "bytes",
    "cmd",
    "cwd",
    "canonicalize",
    "env",
    "env_var",
    "exists",
    "is_absolute",
    "is_relative",
    "pipe",
    "position",
    "read_blob",
    "read_string",
    "run_stream",
    "seek",
    "timeout",
    "truncate",
    "write",
];

/// Functions with more arguments exist with fewer, too.
const MAX_ARGUMENTS: usize = 3;

/// A function's name, and the number of its arguments and the type of the first one if that matters.
type Signature = (String, Option<usize>, Option<TypeId>);

/// Answers whether a function exists. The interpreter finds a native function only by the types of its
/// arguments, so this looks for one with any types.
pub struct Library {
    modules: Vec<Shared<Module>>,
    known: RefCell<HashMap<Signature, bool>>,
}

impl Library {
    /// The library of configs and of actions.
    pub fn new() -> Self {
        let modules = vec![
            StandardPackage::new().as_shared_module(),
            rhai_fs::FilesystemPackage::new().as_shared_module(),
            rhai_process::ProcessPackage::new(rhai_process::Config::default()).as_shared_module(),
        ];
        Self { modules, known: RefCell::default() }
    }

    pub fn has(&self, name: &str) -> bool {
        if BUILT_IN.contains(&name) || METHODS.contains(&name) || FUNCTIONS.iter().any(|it| it.name == name) {
            return true;
        }
        self.is_native(name, None, None)
    }

    /// Whether a function of this name takes so many arguments, and `first`, if given, as the first one. Of
    /// the interpreter's own functions, this knows only the names.
    pub fn takes(&self, name: &str, count: usize, first: Option<TypeId>) -> bool {
        match FUNCTIONS.iter().find(|it| it.name == name).and_then(|it| it.usage.as_ref()) {
            Some(usage) => usage.counts.contains(&count) || self.is_native(name, Some(count), first),
            None => self.has(name),
        }
    }

    fn is_native(&self, name: &str, count: Option<usize>, first: Option<TypeId>) -> bool {
        let signature = (name.to_owned(), count, first);
        if let Some(known) = self.known.borrow().get(&signature) {
            return *known;
        }
        let found = self.find(name, count, first);
        self.known.borrow_mut().insert(signature, found);
        found
    }

    fn find(&self, name: &str, count: Option<usize>, first: Option<TypeId>) -> bool {
        let kinds = [
            TypeId::of::<ImmutableString>(),
            TypeId::of::<INT>(),
            TypeId::of::<Array>(),
            TypeId::of::<Map>(),
            TypeId::of::<Blob>(),
            TypeId::of::<Dynamic>(),
            TypeId::of::<FLOAT>(),
            TypeId::of::<bool>(),
            TypeId::of::<char>(),
            TypeId::of::<()>(),
            TypeId::of::<FnPtr>(),
            TypeId::of::<Instant>(),
            TypeId::of::<std::path::PathBuf>(),
            TypeId::of::<Range<INT>>(),
            TypeId::of::<RangeInclusive<INT>>(),
        ];
        // Only a registration computes the hash by which a module knows a function.
        let (mut scratch, nothing) = (Module::new(), nothing());
        let mut has = |types: &[TypeId]| {
            let registered =
                FuncRegistration::new(name).set_into_module_raw(&mut scratch, types, nothing.clone());
            self.modules.iter().any(|module| module.contains_fn(registered.hash))
        };
        let mut types = vec![Vec::new()];
        for arguments in 0..=MAX_ARGUMENTS {
            let is_asked_for = |types: &Vec<TypeId>| first.is_none() || types.first() == first.as_ref();
            let counts = count.is_none_or(|count| count == arguments);
            if counts && types.iter().filter(|types| is_asked_for(types)).any(|types| has(types)) {
                return true;
            }
            let longer = |types: &Vec<TypeId>| {
                kinds.map(|next| types.iter().copied().chain([next]).collect::<Vec<_>>())
            };
            types = types.iter().flat_map(longer).collect();
        }
        false
    }
}

fn nothing() -> RhaiFunc {
    RhaiFunc::Pure {
        func: Shared::new(|_: Option<NativeCallContext>, _: &mut [&mut Dynamic]| Ok(Dynamic::UNIT)),
        has_context: false,
        is_pure: true,
        is_volatile: false,
    }
}
