//! The keys that all registering functions have: who runs the process and in which surroundings, the store,
//! and the description.

use std::marker::PhantomData;

use super::key::{Key, has_no_nul, is_absolute, put, put_all, unless};
use super::{shown, values};
use crate::config::facts::is_variable_name;
use crate::config::registration::Registered;
use crate::model::{ExecContext, Output, ServiceSpec, StoreName, WatchSpec};

/// The keys of registrations of the type `T`, from which definitions of the type `S` are made.
pub(super) struct ProcessKeys<T, S>(PhantomData<(T, S)>);

/// A definition with these keys.
pub(super) trait Defined {
    fn store(&self) -> &StoreName;
    fn exec_context(&self) -> &ExecContext;
}

impl Defined for WatchSpec {
    fn store(&self) -> &StoreName {
        &self.store
    }

    fn exec_context(&self) -> &ExecContext {
        &self.exec_context
    }
}

impl Defined for ServiceSpec {
    fn store(&self) -> &StoreName {
        &self.member.name.store
    }

    fn exec_context(&self) -> &ExecContext {
        &self.exec_context
    }
}

impl<T: Registered, S: Defined> ProcessKeys<T, S> {
    pub(super) const UID: Key<T, S> = Key::<T, S>::new(
        "uid",
        "int or user name",
        "default: the daemon's user",
        "the user that the action runs as",
    )
    .set(|to, value| put(to.uid_mut(), values::account(value).map(Some)));
    pub(super) const GID: Key<T, S> = Key::<T, S>::new(
        "gid",
        "int or group name",
        "default: the primary group of `uid`",
        "the primary group of the action",
    )
    .set(|to, value| put(to.gid_mut(), values::account(value).map(Some)));
    pub(super) const STORE: Key<T, S> =
        Key::<T, S>::new("store", "string", "default `\"default\"`", "the store that has the node")
            .set(|to, value| put(to.store_mut(), values::text(value).map(Some)))
            .explain(|spec| vec![spec.store().to_string()]);
    pub(super) const ENV: Key<T, S> =
        Key::<T, S>::new("env", "map", "default: none", "environment variables of the action")
            .set(|to, value| put_all(&mut to.exec_context_mut().variables, values::variables(value)))
            .possible_if(|it| {
                it.exec_context().variables.iter().all(|(name, value)| {
                    is_variable_name(name) && !values::is_reserved(name) && has_no_nul(value)
                })
            })
            .explain(|spec| shown::variables(spec.exec_context()));
    pub(super) const CWD: Key<T, S> =
        Key::<T, S>::new("cwd", "absolute path", "default `\"/\"`", "the working directory of the action")
            .set(|to, value| put(&mut to.exec_context_mut().cwd, values::absolute_path(value)))
            .possible_if(|it| is_absolute(&it.exec_context().cwd))
            .explain(|spec| unless(&spec.exec_context().cwd, &ExecContext::default().cwd, String::clone));
    pub(super) const UMASK: Key<T, S> = Key::<T, S>::new(
        "umask",
        "int from 0 to 0o777, or octal digits (`\"027\"`)",
        "default `0o022`",
        "the umask of the action",
    )
    .set(|to, value| put(&mut to.exec_context_mut().umask, values::umask(value)))
    .possible_if(|it| it.exec_context().umask <= values::MAX_UMASK)
    .explain(|spec| {
        unless(&spec.exec_context().umask, &ExecContext::default().umask, |it| format!("{it:#05o}"))
    });
    pub(super) const NICE: Key<T, S> =
        Key::<T, S>::new("nice", "int from -20 to 19", "default: the daemon's", "the priority of the action")
            .set(|to, value| put(&mut to.exec_context_mut().nice, values::nice(value).map(Some)))
            .possible_if(|it| it.exec_context().nice.is_none_or(|it| values::NICE.contains(&it)))
            .explain(|spec| spec.exec_context().nice.iter().map(i32::to_string).collect());
    pub(super) const RLIMITS: Key<T, S> = Key::<T, S>::new(
        "rlimits",
        "map",
        "default: the daemon's limits, and no core dump",
        "the resource limits of the action",
    )
    .set(|to, value| put_all(&mut to.exec_context_mut().limits, values::limits(value)))
    .explain(|spec| shown::limits(spec.exec_context()));
    pub(super) const NO_NEW_PRIVS: Key<T, S> = Key::<T, S>::new(
        "no_new_privs",
        "bool",
        "default `false`",
        "whether the action cannot gain privileges",
    )
    .set(|to, value| put(&mut to.exec_context_mut().no_new_privs, values::boolean(value)))
    .explain(|spec| unless(&spec.exec_context().no_new_privs, &false, bool::to_string));
    pub(super) const OUTPUT: Key<T, S> = Key::<T, S>::new(
        "output",
        "`\"log\"`, `\"discard\"` or absolute path",
        "default `\"log\"`",
        "where stdout and stderr go",
    )
    .set(|to, value| put(&mut to.exec_context_mut().output, values::output(value)))
    .possible_if(|it| match &it.exec_context().output {
        Output::Log | Output::Discard => true,
        Output::File(path) => is_absolute(path),
    })
    .explain(|spec| unless(&spec.exec_context().output, &Output::Log, shown::output));
    pub(super) const DESCRIPTION: Key<T, S> = Key::<T, S>::new(
        "description",
        "string",
        "default `<file>-<n>`",
        "the name of the watch or service within its file",
    )
    .set(|to, value| put(to.description_mut(), values::description(value)));
}
