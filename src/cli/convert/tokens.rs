//! Cuts a Python source into logical lines of tokens, as Python 2 does. Nothing is an error here: what is no
//! token becomes [`Kind::Bad`], and whoever reads the line says so.

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Name(String),
    /// The bytes of a string: in Python 2, a string is bytes.
    Text(Vec<u8>),
    Int(i64),
    Float(f64),
    Operator(&'static str),
    /// Why it is no token that can be translated.
    Bad(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub kind: Kind,
    pub line: usize,
}

/// A logical line: the lines of an open bracket are one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    pub indent: usize,
    /// The first and the last line in the file, from 1.
    pub first: usize,
    pub last: usize,
    pub tokens: Vec<Token>,
}

/// A comment without its `#`, and its line.
#[derive(Clone, Debug, PartialEq)]
pub struct Comment {
    pub line: usize,
    pub text: String,
}

/// The longer ones first.
const OPERATORS: [&str; 45] = [
    "**=", "//=", "<<=", ">>=", "...", "**", "//", "<<", ">>", "<=", ">=", "==", "!=", "<>", "+=", "-=",
    "*=", "/=", "%=", "&=", "|=", "^=", "->", ":=", "(", ")", "[", "]", "{", "}", ",", ":", ".", ";", "=",
    "+", "-", "*", "/", "%", "<", ">", "&", "|", "^",
];

/// Returns the logical lines and the comments. Lines end with `\n` only.
pub fn tokenize(source: &str) -> (Vec<Line>, Vec<Comment>) {
    let mut tokenizer = Tokenizer {
        rest: source,
        number: 1,
        depth: 0,
        line: Line::default(),
        lines: Vec::new(),
        comments: Vec::new(),
    };
    tokenizer.run();
    (tokenizer.lines, tokenizer.comments)
}

struct Tokenizer<'a> {
    rest: &'a str,
    /// The current line of the file.
    number: usize,
    /// How many brackets are open.
    depth: usize,
    line: Line,
    lines: Vec<Line>,
    comments: Vec<Comment>,
}

impl Tokenizer<'_> {
    fn run(&mut self) {
        self.indent();
        while let Some(c) = self.rest.chars().next() {
            match c {
                '\n' => {
                    self.skip(1);
                    if self.depth == 0 {
                        self.end_line();
                        self.indent();
                    }
                    self.number += 1;
                }
                '\\' if self.rest.starts_with("\\\n") => {
                    self.skip(2);
                    self.number += 1;
                }
                ' ' | '\t' | '\x0c' => self.skip(1),
                '#' => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    let text = self.rest[1..end].to_owned();
                    self.comments.push(Comment { line: self.number, text });
                    self.skip(end);
                }
                _ => {
                    let line = self.number;
                    let kind = self.token(c);
                    if self.line.tokens.is_empty() {
                        self.line.first = line;
                    }
                    self.line.tokens.push(Token { kind, line });
                    self.line.last = self.number;
                }
            }
        }
        if self.depth > 0 {
            let kind = Kind::Bad("a bracket is not closed");
            self.line.tokens.push(Token { kind, line: self.number });
            self.line.last = self.number;
        }
        self.end_line();
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.tokens.is_empty() {
            self.lines.push(line);
        }
    }

    /// Measures the white space at the start of a line. A tab leads to the next multiple of eight.
    fn indent(&mut self) {
        let space = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\x0c']).len();
        self.line.indent = self.rest[..space].chars().fold(0, |width, c| match c {
            '\t' => (width / 8 + 1) * 8,
            '\x0c' => 0,
            _ => width + 1,
        });
        self.skip(space);
    }

    fn token(&mut self, c: char) -> Kind {
        if let Some(text) = self.text() {
            return text;
        }
        if c.is_alphabetic() || c == '_' {
            let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
            let end = self.rest.find(|c| !is_of_name(c)).unwrap_or(self.rest.len());
            let name = self.rest[..end].to_owned();
            self.skip(end);
            return if name.is_ascii() { Kind::Name(name) } else { Kind::Bad("a name is not ASCII") };
        }
        let after_dot = self.rest.strip_prefix('.').unwrap_or(self.rest);
        if after_dot.starts_with(|c: char| c.is_ascii_digit()) {
            return self.number();
        }
        let Some(operator) = OPERATORS.iter().find(|operator| self.rest.starts_with(**operator)) else {
            self.skip(c.len_utf8());
            return Kind::Bad("a character that is not translated");
        };
        match *operator {
            "(" | "[" | "{" => self.depth += 1,
            ")" | "]" | "}" => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.skip(operator.len());
        Kind::Operator(operator)
    }

    fn number(&mut self) -> Kind {
        let is_hex = self.rest.starts_with("0x") || self.rest.starts_with("0X");
        let mut before = ' ';
        let mut end = self.rest.len();
        for (at, c) in self.rest.char_indices() {
            let is_sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E') && !is_hex;
            if !(c.is_alphanumeric() || c == '.' || c == '_' || is_sign) {
                end = at;
                break;
            }
            before = c;
        }
        let word = self.rest[..end].to_lowercase();
        self.skip(end);
        let digits = word.strip_suffix('l').unwrap_or(&word);
        let radix = |prefix: &str, radix| {
            let digits = digits.strip_prefix(prefix)?;
            (!digits.starts_with('+')).then(|| i64::from_str_radix(digits, radix).ok()).flatten()
        };
        let is_decimal = digits.bytes().all(|byte| byte.is_ascii_digit());
        let int = match is_decimal {
            true if digits.starts_with('0') => i64::from_str_radix(digits, 8).ok(),
            true => digits.parse().ok(),
            false => radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2)),
        };
        if let Some(int) = int {
            return Kind::Int(int);
        }
        let float = (!is_decimal && digits == word).then(|| digits.parse::<f64>().ok()).flatten();
        match float.filter(|float| float.is_finite()) {
            Some(float) => Kind::Float(float),
            None => Kind::Bad("a number that is not translated"),
        }
    }

    /// Reads a string with its prefix, if there is one.
    fn text(&mut self) -> Option<Kind> {
        let start = self.rest.bytes().take(3).position(|byte| matches!(byte, b'\'' | b'"'))?;
        let prefix = self.rest[..start].to_lowercase();
        let (is_raw, is_unicode) = match prefix.as_str() {
            "" | "b" => (false, false),
            "r" | "br" => (true, false),
            "u" => (false, true),
            "ur" => (true, true),
            _ if prefix.bytes().all(|byte| b"fbrt".contains(&byte)) => {
                self.skip(start);
                self.string(true, false);
                return Some(Kind::Bad("a string of Python 3"));
            }
            _ => return None,
        };
        self.skip(start);
        Some(self.string(is_raw, is_unicode))
    }

    fn string(&mut self, is_raw: bool, is_unicode: bool) -> Kind {
        let quote = &self.rest[..1];
        let quotes = if self.rest.starts_with(&quote.repeat(3)) { quote.repeat(3) } else { quote.to_owned() };
        self.skip(quotes.len());
        let (mut bytes, mut bad) = (Vec::new(), None);
        loop {
            if self.rest.starts_with(&quotes) {
                self.skip(quotes.len());
                return bad.map_or(Kind::Text(bytes), Kind::Bad);
            }
            let Some(c) = self.rest.chars().next() else { return Kind::Bad("a string is not closed") };
            if c == '\n' && quotes.len() == 1 {
                return Kind::Bad("a string is not closed");
            }
            if c != '\\' {
                self.skip(c.len_utf8());
                self.number += usize::from(c == '\n');
                bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            let Some(next) = self.rest[1..].chars().next() else {
                return Kind::Bad("a string is not closed");
            };
            self.number += usize::from(next == '\n');
            if is_raw {
                self.skip(1 + next.len_utf8());
                bytes.push(b'\\');
                bytes.extend(next.encode_utf8(&mut [0; 4]).as_bytes());
                if is_unicode && matches!(next, 'u' | 'U') {
                    bad = Some("a raw string with \\u");
                }
            } else if let Err(why) = self.escape(next, is_unicode, &mut bytes) {
                bad = Some(why);
            }
        }
    }

    /// Reads an escape, of which `next` is the character after the backslash.
    fn escape(&mut self, next: char, is_unicode: bool, bytes: &mut Vec<u8>) -> Result<(), &'static str> {
        let after = &self.rest[1 + next.len_utf8()..];
        let digits = |radix: u32, text: &str, most: usize| {
            text.chars().take(most).take_while(|c| c.is_digit(radix)).count()
        };
        let mut length = 1 + next.len_utf8();
        let mut code = None;
        match next {
            '\n' => {}
            '\\' | '\'' | '"' => bytes.push(next as u8),
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '0'..='7' => {
                let count = digits(8, &self.rest[1..], 3);
                code = u32::from_str_radix(&self.rest[1..=count], 8).ok();
                length = 1 + count;
            }
            'x' => {
                if digits(16, after, 2) < 2 {
                    self.skip(length);
                    return Err("\\x without two digits");
                }
                code = u32::from_str_radix(&after[..2], 16).ok();
                length += 2;
            }
            'u' | 'U' if is_unicode => {
                let count = if next == 'u' { 4 } else { 8 };
                let found = digits(16, after, count);
                let c = u32::from_str_radix(&after[..found], 16).ok().and_then(char::from_u32);
                let Some(c) = c.filter(|_| found == count) else {
                    self.skip(length);
                    return Err("\\u that is no character");
                };
                bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
                length += count;
            }
            'N' if is_unicode => {
                self.skip(length);
                return Err("\\N in a string");
            }
            other => {
                bytes.push(b'\\');
                bytes.extend(other.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        if let Some(code) = code {
            match char::from_u32(code).filter(|_| is_unicode) {
                Some(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
                // Python takes the low byte of an octal number.
                None => bytes.push((code & 0xff) as u8),
            }
        }
        self.skip(length);
        Ok(())
    }
}
