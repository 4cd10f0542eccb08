//! Finds where the statements of a script begin, and which brackets and comments stay open.
//!
//! The parser stops at its first error. An outline is there for scripts with errors: it knows texts, comments
//! and brackets, and takes a word in the first column that begins a statement for its beginning.

use rhai::Position;

/// The words that begin a statement, and nothing else.
pub const STATEMENTS: [&str; 13] = [
    "RegisterWatch",
    "RegisterService",
    "let",
    "const",
    "fn",
    "private",
    "import",
    "export",
    "for",
    "while",
    "loop",
    "return",
    "throw",
];

/// Other words that may begin a statement.
const BLOCKS: [&str; 4] = ["if", "switch", "try", "do"];

/// No text of a config has these in the first column.
const CALLS: [&str; 2] = ["RegisterWatch(", "RegisterService("];

/// Why a token is missing, in the words of an error of the parser, if the error is at the bracket that opens.
pub const UNCLOSED: &str = "to close what is opened here";

/// Returns the word that `text` begins with.
pub fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

pub struct Outline<'a> {
    pub lines: Vec<&'a str>,
    /// Which lines have more than comments.
    has_code: Vec<bool>,
    pub statements: Vec<Statement>,
    /// The beginning of the comment that hides the rest of the script.
    pub open_comment: Option<Position>,
}

pub struct Statement {
    /// The index of its first line.
    pub start: usize,
    pub unclosed: Option<Unclosed>,
    /// Whether it ends with a text that has no end.
    pub is_cut: bool,
}

/// A bracket that stays open, with those after it in its statement.
pub struct Unclosed {
    pub at: Position,
    /// The brackets that would close them.
    pub missing: String,
}

impl<'a> Outline<'a> {
    pub fn of(source: &'a str) -> Self {
        let lines: Vec<&str> = source.lines().collect();
        let mut scan = Scan::of(&lines, false);
        if scan.is_unbalanced() {
            scan = Scan::of(&lines, true);
        }
        let open_comment = match scan.mode {
            Mode::Comment { at, .. } => Some(at),
            Mode::Code | Mode::Text(_) | Mode::Raw(_) => None,
        };
        let statements = scan.statements();
        Self { has_code: scan.has_code, lines, statements, open_comment }
    }

    /// Returns the index of the first line of the statement `at`, or of the end.
    pub fn start(&self, at: usize) -> usize {
        self.statements.get(at).map_or(self.lines.len(), |statement| statement.start)
    }

    /// Returns the number of lines up to the last one with code of the statements before `to`.
    pub fn end_of_code(&self, to: usize) -> usize {
        self.has_code[..self.start(to)].iter().rposition(|has_code| *has_code).map_or(0, |last| last + 1)
    }
}

/// What the scanner is within.
enum Mode {
    Code,
    /// A text that ends with this quote.
    Text(char),
    /// A text that ends with a quote and this many `#`.
    Raw(usize),
    Comment {
        level: usize,
        at: Position,
    },
}

struct Opening {
    at: Position,
    bracket: &'static str,
    /// The bracket around it.
    around: Option<usize>,
    indent: usize,
    is_closed: bool,
}

impl Opening {
    fn closer(&self) -> char {
        match self.bracket {
            "(" => ')',
            "[" => ']',
            _ => '}',
        }
    }
}

const BRACKETS: [&str; 4] = ["#{", "{", "(", "["];

/// What stands in a text in backticks where code begins.
const INTERPOLATION: &str = "${";

/// A bracket that closes is looked for so far out. Nobody nests deeper.
const MAX_DEPTH: usize = 256;

struct Scan {
    /// Whether the script is unbalanced. So indentation says what a brace closes, and a text without an end
    /// does not reach beyond the next registration.
    by_layout: bool,
    mode: Mode,
    /// The indentation of this line.
    indent: usize,
    has_code: Vec<bool>,
    openings: Vec<Opening>,
    /// The brackets that are open here.
    open: Vec<usize>,
    has_stray: bool,
    /// The lines before which a text without an end was ended.
    cuts: Vec<usize>,
    /// The first lines of what may be statements, each with the bracket around it.
    starts: Vec<(usize, Option<usize>)>,
}

impl Scan {
    fn of(lines: &[&str], by_layout: bool) -> Self {
        let mut scan = Self {
            by_layout,
            mode: Mode::Code,
            indent: 0,
            has_code: vec![false; lines.len()],
            openings: Vec::new(),
            open: Vec::new(),
            has_stray: false,
            cuts: Vec::new(),
            starts: Vec::new(),
        };
        for (number, line) in lines.iter().enumerate() {
            scan.line(number, line);
        }
        scan
    }

    fn is_unbalanced(&self) -> bool {
        let in_text = matches!(self.mode, Mode::Text(_) | Mode::Raw(_));
        self.has_stray || in_text || self.openings.iter().any(|opening| !opening.is_closed)
    }

    fn line(&mut self, number: usize, line: &str) {
        let in_text = matches!(self.mode, Mode::Text(_) | Mode::Raw(_));
        if in_text && self.by_layout && CALLS.iter().any(|call| line.starts_with(call)) {
            self.mode = Mode::Code;
            self.cuts.push(number);
        }
        self.indent = line.len() - line.trim_start().len();
        if matches!(self.mode, Mode::Code) {
            self.begin(number, line);
        }
        let (mut rest, mut column, mut continues) = (line, 1, false);
        while !rest.is_empty() {
            // The places of the parser count to 65,535.
            let at = Position::new(
                u16::try_from(number + 1).unwrap_or(u16::MAX),
                u16::try_from(column).unwrap_or(u16::MAX),
            );
            if !rest.starts_with(char::is_whitespace) {
                let is_comment = matches!(self.mode, Mode::Comment { .. })
                    || matches!(self.mode, Mode::Code) && (rest.starts_with("//") || rest.starts_with("/*"));
                self.has_code[number] |= !is_comment;
            }
            continues = matches!(self.mode, Mode::Text('"')) && rest == "\\";
            let length = self.step(rest, at);
            column += rest[..length].chars().count();
            rest = &rest[length..];
        }
        if matches!(self.mode, Mode::Text('"' | '\'')) && !continues {
            self.mode = Mode::Code;
        }
    }

    /// Notes that a statement may begin with this line.
    fn begin(&mut self, number: usize, line: &str) {
        let first = word(line);
        let is_certain = STATEMENTS.contains(&first);
        if is_certain {
            // Such a word does not stand in a call, an array or a map.
            let block = self.open.iter().rposition(|at| self.openings[*at].bracket == "{");
            self.open.truncate(block.map_or(0, |at| at + 1));
        }
        let rest = line[first.len()..].trim_start();
        let is_call = rest.starts_with('(') || rest.starts_with('=') && !rest.starts_with("==");
        let begins = is_certain || !first.is_empty() && (is_call || BLOCKS.contains(&first));
        if begins && (is_certain || self.open.is_empty()) {
            self.starts.push((number, self.open.last().copied()));
        }
    }

    /// Goes on with the `rest` of a line. Returns the length of what it has read.
    fn step(&mut self, rest: &str, at: Position) -> usize {
        let Some(first) = rest.chars().next() else { return 0 };
        match &mut self.mode {
            Mode::Code => return self.step_code(rest, first, at),
            Mode::Comment { level, .. } => {
                let sign = ["/*", "*/"].into_iter().find(|sign| rest.starts_with(sign));
                match sign {
                    Some("/*") => *level += 1,
                    Some(_) => *level -= 1,
                    None => return first.len_utf8(),
                }
                if *level == 0 {
                    self.mode = Mode::Code;
                }
                return 2;
            }
            Mode::Text('`') if rest.starts_with("\\${") => return 3,
            Mode::Text('`') if rest.starts_with(INTERPOLATION) => {
                self.mode = Mode::Code;
                return self.open(INTERPOLATION, at);
            }
            Mode::Text('"' | '\'') if first == '\\' => {
                return 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            }
            Mode::Text(quote) if *quote == first => self.mode = Mode::Code,
            Mode::Raw(hashes) => {
                let ends = rest.strip_prefix('"').is_some_and(|rest| count_hashes(rest) >= *hashes);
                if ends {
                    let length = 1 + *hashes;
                    self.mode = Mode::Code;
                    return length;
                }
            }
            Mode::Text(_) => {}
        }
        first.len_utf8()
    }

    fn step_code(&mut self, rest: &str, first: char, at: Position) -> usize {
        if rest.starts_with("//") {
            return rest.len();
        }
        if rest.starts_with("/*") {
            self.mode = Mode::Comment { level: 1, at };
            return 2;
        }
        if let Some(bracket) = BRACKETS.into_iter().find(|bracket| rest.starts_with(bracket)) {
            return self.open(bracket, at);
        }
        match first {
            '"' | '\'' | '`' => self.mode = Mode::Text(first),
            '#' => {
                let hashes = count_hashes(rest);
                if rest[hashes..].starts_with('"') {
                    self.mode = Mode::Raw(hashes);
                    return hashes + 1;
                }
            }
            ')' | ']' | '}' => self.close(first, at),
            _ => {}
        }
        first.len_utf8()
    }

    /// Returns the length of the bracket.
    fn open(&mut self, bracket: &'static str, at: Position) -> usize {
        let around = self.open.last().copied();
        self.open.push(self.openings.len());
        self.openings.push(Opening { at, bracket, around, indent: self.indent, is_closed: false });
        bracket.len()
    }

    fn close(&mut self, closer: char, at: Position) {
        let outwards = || self.open.iter().rev().take(MAX_DEPTH).copied();
        let fits = |it: &usize| self.openings[*it].closer() == closer;
        let begins_line = at.position() == Some(self.indent + 1);
        let aligned = (self.by_layout && begins_line)
            .then(|| outwards().find(|it| fits(it) && self.openings[*it].indent == self.indent));
        let Some(found) = aligned.flatten().or_else(|| outwards().find(fits)) else {
            self.has_stray = true;
            return;
        };
        self.open.truncate(self.open.partition_point(|it| *it < found));
        self.openings[found].is_closed = true;
        if self.openings[found].bracket == INTERPOLATION {
            self.mode = Mode::Text('`');
        }
    }

    /// Returns the statements. One may begin in a bracket only if no bracket around it is ever closed.
    fn statements(&self) -> Vec<Statement> {
        let mut stay_open: Vec<bool> = Vec::with_capacity(self.openings.len());
        for opening in &self.openings {
            stay_open.push(!opening.is_closed && opening.around.is_none_or(|around| stay_open[around]));
        }
        let begins = self.starts.iter().filter(|(_, around)| around.is_none_or(|around| stay_open[around]));
        let mut starts: Vec<usize> = begins.map(|(line, _)| *line).collect();
        if starts.first() != Some(&0) {
            starts.insert(0, 0);
        }
        let mut statements: Vec<Statement> =
            starts.into_iter().map(|start| Statement { start, unclosed: None, is_cut: false }).collect();
        for line in &self.cuts {
            let before = statements.partition_point(|statement| statement.start < *line).saturating_sub(1);
            statements[before].is_cut = true;
        }
        let mut within = None;
        for (at, opening) in self.openings.iter().enumerate().filter(|(_, opening)| !opening.is_closed) {
            let line = opening.at.line().unwrap_or(1);
            let of = statements.partition_point(|statement| statement.start < line).saturating_sub(1);
            match &mut statements[of].unclosed {
                Some(unclosed) if opening.around == within => unclosed.missing.insert(0, opening.closer()),
                Some(_) => continue,
                unclosed => {
                    *unclosed = Some(Unclosed { at: opening.at, missing: opening.closer().to_string() });
                }
            }
            within = Some(at);
        }
        statements
    }
}

fn count_hashes(text: &str) -> usize {
    text.len() - text.trim_start_matches('#').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lines in which statements begin, from 1, and the places and brackets that stay open.
    fn outline(source: &str) -> (Vec<usize>, Vec<String>) {
        let outline = Outline::of(source);
        let starts = outline.statements.iter().map(|it| it.start + 1).collect();
        let unclosed = outline.statements.iter().filter_map(|it| it.unclosed.as_ref());
        (starts, unclosed.map(|it| format!("{:?} {}", it.at, it.missing)).collect())
    }

    fn open(source: &str) -> Vec<String> {
        outline(source).1
    }

    #[test]
    fn a_statement_begins_in_the_first_column_outside_of_texts_comments_and_brackets() {
        let source = "let a = `\nlet b\n${ if x {\nlet c } }\n`;\n/* let /* d\nlet e */\nlet f */\n\
                      let g = #\"\nlet h\"#; // let `\nlet i = \"\\\nlet j\";\n\
                      let k = ['\\'', '\"', '`'];\nf(\ng(1)\n);\nfor x in y {\nlet l = 1;\n}\n let m = 1;\n\
                      n = 1;\no == 1;\n";
        assert_eq!(outline(source), (vec![1, 9, 11, 13, 14, 17, 21], vec![]));
    }

    #[test]
    fn a_bracket_that_stays_open_ends_before_the_next_statement() {
        assert_eq!(outline("f(#{ a: [1\nlet b = 1;\n"), (vec![1, 2], vec!["1:2 ]})".into()]));
        assert_eq!(outline("fn f() {\n  g();\nlet b = 1;\nh();\n"), (vec![1, 3], vec!["1:8 }".into()]));
        let stray = "f(1\nlet b = 2;\ng(3));\nlet c = 4;\n";
        assert_eq!(outline(stray), (vec![1, 2, 3, 4], vec!["1:2 )".into()]));
        assert_eq!(open("let a = 1;\nfn f() {\n  if x {\n    y();\n}\nlet b = 1;\n"), ["3:8 }"]);
        assert_eq!(open("let a = `${ f(1 }`;\nlet b = `${`;\n"), ["1:14 )", "2:10 }"]);
        assert_eq!(open("if x {\n} else {\nf(1);\n"), ["2:8 }"]);
        // A text without an end hides brackets, but not the next registrations.
        assert_eq!(outline("f(`a);\nRegisterWatch(#{});\n"), (vec![1, 2], vec!["1:2 )".into()]));
        assert_eq!(open("f(\"a);\nlet a = 1;\n"), ["1:2 )"]);
    }

    #[test]
    fn layout_says_nothing_about_a_script_with_balanced_brackets() {
        assert_eq!(open("fn f() {\n    if x {\n  y();\n}\n  }\nlet a = 1;\n"), [] as [&str; 0]);
    }

    #[test]
    fn a_comment_without_an_end_is_found() {
        let open = |source| Outline::of(source).open_comment;
        assert_eq!(open("let a = 1; /* /srv/* */\nlet b = 1;\n"), Some(Position::new(1, 12)));
        assert_eq!(open("/* /* */ */ `/*` \"/*\" // /*\n"), None);
    }
}
