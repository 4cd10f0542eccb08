//! The manual page twitcher(1) and the completions. They are generated from the definition of the command
//! line and committed, so that packages can be built without generating them.

use std::collections::BTreeMap;
use std::fs;

use clap_complete::{Generator, Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};
use twitcher::cli::command;

use super::here;

const PAGE: &str = "packaging/man/man1/twitcher.1";

/// The sections that are not generated.
const CLOSING: &str = "packaging/man/closing.roff";

/// The command line as users see it. Without this, completions would contain hidden subcommands, too.
fn visible() -> clap::Command {
    let whole = command();
    clap::Command::new("twitcher")
        .version(env!("CARGO_PKG_VERSION"))
        .about(whole.get_about().cloned().unwrap_or_default())
        .long_about(whole.get_long_about().cloned().unwrap_or_default())
        .args(whole.get_arguments().cloned())
        .groups(whole.get_groups().cloned())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned())
}

/// Panics unless the committed file has this text. With UPDATE in the environment, writes it first.
fn expect_committed(path: &str, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(here(path).parent().unwrap()).unwrap();
        fs::write(here(path), text).unwrap();
    }
    let committed = fs::read_to_string(here(path)).unwrap_or_default();
    // The texts are too long to be shown as a whole.
    let difference = committed.lines().zip(text.lines()).find(|(committed, new)| committed != new);
    assert!(
        committed == text,
        "{path} is stale; refresh it with: UPDATE=1 cargo test --test shipped generated\n\
         first difference: {difference:?}"
    );
}

/// The commands that do something: those of `commits` in its place, with both words as the name.
fn leaves(whole: &clap::Command) -> Vec<clap::Command> {
    let leaf = |command: &clap::Command| {
        let name = command.get_name().to_owned();
        let inner: Vec<_> = command
            .get_subcommands()
            .filter(|inner| inner.get_name() != "help")
            .map(|inner| {
                // Its names live as long as the program.
                let name: &'static str = format!("{name} {}", inner.get_name()).leak();
                inner.clone().name(name)
            })
            .collect();
        if inner.is_empty() { vec![command.clone()] } else { inner }
    };
    whole.get_subcommands().flat_map(leaf).collect()
}

/// The options of these arguments, as a manual page lists them.
fn options<'a>(arguments: impl Iterator<Item = &'a clap::Arg>) -> String {
    let mut command = clap::Command::new("options").disable_help_flag(true).args(arguments.cloned());
    command.build();
    let mut text = Vec::new();
    Man::new(command).render_options_section(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    text.split_once(".SH OPTIONS\n").map_or(String::new(), |(_, options)| options.to_owned())
}

/// The arguments that several commands share, by the names of their groups, with these commands. The page
/// describes them once.
fn shared(whole: &[clap::Command]) -> BTreeMap<String, (Vec<&str>, Vec<&clap::Arg>)> {
    let mut shared = BTreeMap::<_, (Vec<_>, Vec<_>)>::new();
    for command in whole {
        for group in command.get_groups() {
            let (commands, arguments) = shared.entry(group.get_id().to_string()).or_default();
            commands.push(command.get_name());
            *arguments =
                command.get_arguments().filter(|arg| group.get_args().any(|id| id == arg.get_id())).collect();
        }
    }
    shared.retain(|_, (commands, arguments)| {
        commands.len() > 1 && arguments.iter().all(|arg| !arg.is_positional()) && !arguments.is_empty()
    });
    shared
}

/// The heading for a group of arguments: STORE OPTIONS for `StoreArgs`.
fn heading(group: &str) -> String {
    format!("{} OPTIONS", group.trim_end_matches("Args").to_uppercase())
}

/// The synopsis of a command without the program's name.
fn usage(command: &clap::Command) -> Roff {
    let mut words = vec![bold(command.get_name())];
    if command.get_arguments().any(|arg| !arg.is_positional() && arg.get_id() != "help") {
        words.push(roman(" [options]"));
    }
    for positional in command.get_positionals() {
        if positional.get_id() == "data" {
            // Optional for the parser alone: `set` wants one of these.
            words.extend([
                roman(" "),
                italic("DATA"),
                roman(" | "),
                bold("-"),
                roman(" | "),
                bold("--empty"),
                roman(" | "),
                bold("--acl"),
                roman(" "),
                italic("ACL"),
            ]);
            continue;
        }
        let name =
            positional.get_value_names().map_or(positional.get_id().as_str().to_uppercase(), |names| {
                names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
            });
        let [open, close] = if positional.is_required_set() { ["", ""] } else { ["[", "]"] };
        let many = positional.get_num_args().is_some_and(|count| count.max_values() > 1);
        words.extend([
            roman(" "),
            roman(open),
            italic(name),
            roman(if many { "..." } else { "" }),
            roman(close),
        ]);
    }
    let mut roff = Roff::new();
    roff.text(words);
    roff
}

fn text(line: String) -> String {
    let mut roff = Roff::new();
    roff.text([roman(line)]);
    roff.to_roff()
}

fn page() -> String {
    let mut whole = visible().disable_help_subcommand(true);
    whole.build();
    let man = Man::new(whole.clone());
    let mut name = Vec::new();
    man.render_name_section(&mut name).unwrap();
    // The page has no date. It would be the date of the build, or wrong.
    let mut page = format!(".TH TWITCHER 1 \"\" \"twitcher {}\" \"Twitcher\"\n", env!("CARGO_PKG_VERSION"));
    page += &String::from_utf8(name).unwrap();
    let leaves = leaves(&whole);
    page += ".SH SYNOPSIS\n\\fBtwitcher\\fR [options]\n";
    for command in &leaves {
        page += &format!(".br\n\\fBtwitcher\\fR {}", usage(command).to_roff());
    }
    let mut description = Vec::new();
    man.render_description_section(&mut description).unwrap();
    page += &String::from_utf8(description).unwrap();

    let shared = shared(&leaves);
    page += ".SH COMMANDS\n";
    for command in &leaves {
        page += &format!(".SS {}", usage(command).to_roff());
        let about = command
            .get_long_about()
            .or(command.get_about())
            .unwrap_or_else(|| panic!("{command} says nothing"));
        page += &text(format!("{}.", about.to_string().trim_end_matches('.')));
        let name = command.get_name();
        let taken: Vec<_> = shared.iter().filter(|(_, (commands, _))| commands.contains(&name)).collect();
        if !taken.is_empty() {
            let headings: Vec<_> = taken.iter().map(|(group, _)| heading(group)).collect();
            page += &text(format!("Takes the {}, too.", headings.join(" and the ")));
        }
        let is_own = |arg: &&clap::Arg| {
            let is_shared =
                taken.iter().any(|(_, (_, shared))| shared.iter().any(|one| one.get_id() == arg.get_id()));
            !is_shared && !arg.is_hide_set() && arg.get_id() != "help"
        };
        page += &options(command.get_arguments().filter(is_own));
    }
    for (group, (commands, arguments)) in &shared {
        page += &format!(".SH {}\n", heading(group));
        page += &text(format!("Of {}.", commands.join(", ")));
        page += &options(arguments.iter().copied());
    }
    page + fs::read_to_string(here(CLOSING)).unwrap().as_str()
}

/// What follows the script for bash: the names of watches, runs, nodes, stores and keys, which the program
/// finds.
/// The program prints whole words, and bash replaces only what stands behind the last character at which it
/// breaks words (`COMP_WORDBREAKS`, such as the colon in the name of a watch).
const BASH_NAMES: &str = r#"
_twitcher_with_names() {
    local line="${COMP_LINE:0:COMP_POINT}" found typed kept name
    local -a names=()
    if ! found=$("$1" complete -- "$line" 2>/dev/null </dev/null); then
        _twitcher "$@"
        return
    fi
    # A file is no name, also where there is none.
    compopt +o default +o bashdefault 2>/dev/null
    [[ -z "$found" ]] || mapfile -t names <<<"$found"
    typed="${line##*[[:space:]]}"
    kept="${typed%"$2"}"
    [[ "$kept" == *[:=] ]] || kept=""
    COMPREPLY=()
    for name in "${names[@]}"; do
        name="${name#"$kept"}"
        [[ "$typed" == [\'\"]* ]] || printf -v name %q "$name"
        COMPREPLY+=("$name")
    done
    if [[ ${#names[@]} -eq 1 && "${names[0]}" == */ ]]; then
        compopt -o nospace 2>/dev/null
    fi
}

if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
    complete -F _twitcher_with_names -o bashdefault -o default twitcher
fi
"#;

/// What stands before the last part of the script for zsh, for the same.
const ZSH_NAMES: &str = r#"(( $+functions[_twitcher_names] )) ||
_twitcher_names() {
    local found
    local -a names
    if ! found=$(command twitcher complete -- "$LBUFFER" 2>/dev/null </dev/null); then
        _default
        return
    fi
    names=(${(f)found})
    if (( ! $#names )); then
        _message 'no such name'
    elif [[ $#names -eq 1 && $names[1] == */ ]]; then
        compadd -S '' -a names
    else
        compadd -a names
    fi
}

"#;

/// What follows the script for fish, for the same.
const FISH_NAMES: &str = "\
function __fish_twitcher_names
    set -g __fish_twitcher_found (command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)
end
complete -c twitcher -n __fish_twitcher_names -f -a '$__fish_twitcher_found'
";

/// The values of `--store`, as the script for fish asks for them.
const FISH_STORES: &str =
    " -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'";

/// Has fish ask for the names of stores.
fn with_stores_for_fish(script: &str) -> String {
    let line = |line: &str| match line.strip_suffix(" -r").filter(|_| line.contains(" -l store -d ")) {
        Some(line) => format!("{line}{FISH_STORES}\n"),
        None => format!("{line}\n"),
    };
    let text: String = script.lines().map(line).collect();
    assert!(text.contains(FISH_STORES), "fish would not know the stores");
    text
}

/// The arguments that are names, as the script for zsh shows them.
const NAMES: [&str; 5] = ["node", "watch", "watches", "names", "run"];

/// Has zsh ask for names.
fn with_names_for_zsh(script: &str) -> String {
    let is_name = |line: &str| {
        // A key of commits, which needs no explanation.
        line.starts_with("':key:")
            || line.contains("--store=[")
            || NAMES.iter().any(|name| line.contains(&format!(":{name} -- ")))
    };
    let mut text = String::new();
    for line in script.lines() {
        if line.starts_with("if [ \"$funcstack[1]\"") {
            text += ZSH_NAMES;
        }
        match line.strip_suffix(":_default' \\").filter(|_| is_name(line)) {
            Some(argument) => text += &format!("{argument}:_twitcher_names' \\\n"),
            None => text += &format!("{line}\n"),
        }
    }
    assert!(text.contains(ZSH_NAMES), "zsh would not know the names");
    text
}

fn completions(shell: impl Generator) -> String {
    let mut script = Vec::new();
    generate(shell, &mut visible(), "twitcher", &mut script);
    String::from_utf8(script).unwrap()
}

#[test]
fn generated_manual_page_is_fresh() {
    expect_committed(PAGE, &page());
}

#[test]
fn generated_completions_are_fresh() {
    for (shell, file) in
        [(Shell::Bash, "twitcher.bash"), (Shell::Zsh, "_twitcher"), (Shell::Fish, "twitcher.fish")]
    {
        let mut script = completions(shell);
        match shell {
            Shell::Bash => script += BASH_NAMES,
            Shell::Zsh => script = with_names_for_zsh(&script),
            _ => script = with_stores_for_fish(&script) + FISH_NAMES,
        }
        for internal in ["evaluate", "descriptor"] {
            assert!(!script.contains(internal), "{file} shows what is internal: {internal}");
        }
        expect_committed(&format!("packaging/completions/{file}"), &script);
    }
}
