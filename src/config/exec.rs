//! The check of the argument of `Exec(...)` in configs, and of `run(...)` in function actions.

use rhai::Dynamic;

use super::vocabulary::{as_string, no_nul, type_of};

/// Returns the program and its arguments.
pub fn exec(argument: &Dynamic) -> Result<Vec<String>, String> {
    if let Ok(command) = argument.as_immutable_string_ref() {
        return match command.trim().is_empty() {
            true => Err("Exec: the command is empty".into()),
            false => Ok(vec!["/bin/sh".into(), "-c".into(), word(command.to_string())?]),
        };
    }
    let words = argument.as_array_ref().map_err(|_| {
        let (given, instead) = (type_of(argument), as_string(argument));
        format!("Exec takes a string for the shell or an array [program, argument...], not {given}{instead}")
    })?;
    let words = words.iter().zip(1..).map(|(value, n): (_, usize)| match value.as_immutable_string_ref() {
        Ok(text) => word(text.to_string()),
        Err(_) => Err(format!("Exec: word {n} is {}, not a string{}", type_of(value), as_string(value))),
    });
    let words = words.collect::<Result<Vec<_>, String>>()?;
    match words.first().map(String::as_str) {
        None => Err("Exec: the command is empty; an array starts with the program".into()),
        Some("") => Err("Exec: the program's name is empty".into()),
        Some(_) => Ok(words),
    }
}

fn word(text: String) -> Result<String, String> {
    no_nul(text).map_err(|why| format!("Exec{why}"))
}
