//! Refuses numbers in a script that do not mean what they look like.
//!
//! The interpreter reads `077` as 77, which is 0o115. Everybody else's configs and shells read it as 0o077.

use rhai::{Engine, Position, Token};

/// The key whose value people write in octal digits.
const UMASK: &str = "umask";

/// The key whose numbers become texts.
const ENV: &str = "env";

/// Returns what is wrong with the numbers of `source`, each with its position: a decimal number with a
/// leading zero, a `umask` that is written in octal digits but read as a decimal number, or a number in `env`
/// that would become another text. Other mistakes are left to the compiler.
pub fn check(engine: &Engine, source: &str) -> Vec<(Position, String)> {
    let mut found = Vec::new();
    let sources = [source];
    let (mut tokens, control) = engine.lex(&sources);
    // The text of a number is needed, as it was written.
    tokens.state.last_token = Some(Default::default());
    let mut umask = Place::default();
    let mut env = EnvMap::default();
    // The open braces within each `${...}` of a text in backticks, outermost first.
    let mut blocks: Vec<usize> = Vec::new();
    while let Some((token, position)) = tokens.next() {
        match &token {
            Token::EOF => break,
            Token::IntegerConstant(_) | Token::FloatConstant(_) => {
                let text = tokens.state.last_token.as_deref().unwrap_or_default();
                if let Token::IntegerConstant(number @ ..0) = token
                    && !text.starts_with('-')
                {
                    let reason = format!("{text} is larger than an int can be, and would be {number}");
                    found.push((position, reason));
                } else {
                    found.extend(number_fault(text, umask == Place::Value).map(|reason| (position, reason)));
                }
            }
            Token::InterpolatedString(_) => blocks.push(0),
            Token::LeftBrace | Token::MapStart => {
                if let Some(open) = blocks.last_mut() {
                    *open += 1;
                }
            }
            Token::RightBrace => {
                if let Some(open) = blocks.last_mut() {
                    *open = open.saturating_sub(1);
                    if *open == 0 {
                        // The text goes on. The parser tells the lexer in the same way.
                        blocks.pop();
                        control.borrow_mut().is_within_text = true;
                    }
                }
            }
            _ => {}
        }
        let text = tokens.state.last_token.as_deref().unwrap_or_default();
        if let Some((written, shown, position)) = env.number_before(&token, text, position) {
            let reason =
                format!("`{ENV}`: {written} would be the text {shown}; write \"{written}\" or \"{shown}\"");
            // A leading zero is the worse mistake.
            if found.iter().all(|(known, _)| *known != position) {
                found.push((position, reason));
            }
        }
        umask = umask.after(UMASK, &token);
    }
    found
}

/// How much of a key, its colon and its value comes before the next token.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Elsewhere,
    Name,
    Value,
}

impl Place {
    fn after(self, key: &str, token: &Token) -> Self {
        match (self, token) {
            (_, Token::Identifier(name)) if ***name == *key => Self::Name,
            (_, Token::StringConstant(name)) if ***name == *key => Self::Name,
            (Self::Name, Token::Colon) => Self::Value,
            _ => Self::Elsewhere,
        }
    }
}

/// Follows the tokens of the map that is the value of `env`.
#[derive(Default)]
struct EnvMap {
    key: Place,
    /// How many braces are open, from that of the map on. 0 is outside of it.
    open: usize,
    is_value_next: bool,
    /// The number that the last token was, if it may be a value of the map: as it is written, and the text
    /// that it would become.
    number: Option<(String, String, Position)>,
}

impl EnvMap {
    /// Returns the number before `token` if it is a value and would become another text than `written`.
    fn number_before(
        &mut self,
        token: &Token,
        written: &str,
        position: Position,
    ) -> Option<(String, String, Position)> {
        let number = self.number.take().filter(|_| matches!(token, Token::Comma | Token::RightBrace));
        let shown = match token {
            Token::IntegerConstant(number) => Some(number.to_string()),
            Token::FloatConstant(number) => Some(number.0.to_string()),
            _ => None,
        };
        if self.is_value_next
            && let Some(shown) = shown.filter(|shown| shown != written)
        {
            self.number = Some((written.to_owned(), shown, position));
        }
        self.is_value_next = self.open == 1 && *token == Token::Colon;
        match token {
            Token::MapStart | Token::LeftBrace if self.open > 0 => self.open += 1,
            Token::MapStart if self.key == Place::Value => self.open = 1,
            Token::RightBrace => self.open = self.open.saturating_sub(1),
            _ => {}
        }
        self.key = self.key.after(ENV, token);
        number
    }
}

fn number_fault(text: &str, is_umask: bool) -> Option<String> {
    let digits = text.trim_start_matches('-');
    let is_octal = digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let shown = digits.trim_start_matches('0');
    let octal = if shown.is_empty() { "0" } else { shown };
    let or = if is_umask { format!(" or \"{octal:0>3}\"") } else { String::new() };
    let number = digits.parse::<u64>().ok();
    let reason = match number {
        _ if digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit() => {
            let decimal = if shown.starts_with(|c: char| c.is_ascii_digit()) { shown } else { "0" };
            match is_octal {
                true => format!(
                    "{text} has a leading zero, and would be the decimal number {decimal}; write \
                     0o{octal:0>3}{or} for an octal number, or {decimal} for a decimal one"
                ),
                false => format!("{text} has a leading zero; write it without"),
            }
        }
        Some(number) if is_umask && is_octal && number > 7 => format!(
            "`{UMASK}`: {text} is a decimal number, 0o{number:03o} in octal digits; write 0o{octal:0>3} or \
             \"{octal:0>3}\" for the umask {octal:0>3}, or 0o{number:03o}"
        ),
        Some(_) | None => return None,
    };
    Some(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(source: &str) -> String {
        match check(&Engine::new(), source).as_slice() {
            [] => "ok".to_owned(),
            found => found.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; "),
        }
    }

    #[test]
    fn a_number_with_a_leading_zero_is_refused_wherever_it_stands() {
        for (source, position, number) in [
            ("let a = 077;", (1, 9), "077"),
            ("f(1, [0, #{ a: 007 }])", (1, 16), "007"),
            ("\n  x = -010;", (2, 7), "-010"),
            ("let a = 0_7;", (1, 9), "07"),
            ("`a ${ 1 + 010 } b`", (1, 11), "010"),
            ("`a ${ if x { #{} } else { `${1}` } } b`; 01", (1, 42), "01"),
            ("let a = 00.5;", (1, 9), "00.5"),
            ("let a = 08;", (1, 9), "08"),
            ("/* 01 /* 02 */ 03 */ 04", (1, 22), "04"),
        ] {
            let (line, column) = position;
            let found = check(&Engine::new(), source);
            assert_eq!(found[0].0, Position::new(line, column), "{source}: {found:?}");
            assert!(found[0].1.starts_with(&format!("{number} has a leading zero")), "{found:?}");
        }
        assert!(checked("077").contains("write 0o077 for an octal number, or 77 for a decimal one"));
        assert!(checked("00").contains("write 0o000 for an octal number, or 0 for a decimal one"));
    }

    #[test]
    fn a_umask_of_octal_digits_that_is_read_as_a_decimal_number_is_refused() {
        for source in ["#{ umask: 77 }", "#{ \"umask\": 22 }", "#{ umask : -77 }"] {
            assert!(checked(source).contains(" is a decimal number, 0o"), "{source}");
        }
        assert!(checked("#{umask: 77}").contains("write 0o077 or \"077\" for the umask 077, or 0o115"));
    }

    #[test]
    fn a_number_in_env_that_would_become_another_text_is_refused() {
        for (number, shown) in
            [("1.10", "1.1"), ("0o644", "420"), ("0x1F", "31"), ("1e3", "1000.0"), ("-2.50", "-2.5")]
        {
            for map in [format!("env: #{{ A: {number} }}"), format!("\"env\": #{{ \"A\": {number}, B: 1 }}")]
            {
                let error = checked(&format!("#{{ {map} }}"));
                let expected =
                    format!("`env`: {number} would be the text {shown}; write \"{number}\" or \"{shown}\"");
                assert!(error.contains(&expected), "{error}");
            }
        }
        for map in
            ["env: #{ A: 1.5, B: 1_000, C: 0, D: -1, E: \"1.10\" }", "env: #{ A: 0o10 + 1, B: f(1.10) }"]
        {
            assert_eq!(checked(&format!("#{{ {map}, timeout: 1.50, max_data: 0x10 }}")), "ok");
        }
    }

    #[test]
    fn a_number_that_is_too_large_and_would_be_negative_is_refused() {
        let error = checked("let a = 0xfffffffffffffff0;");
        assert!(
            error.contains("0xfffffffffffffff0 is larger than an int can be, and would be -16"),
            "{error}"
        );
    }

    #[test]
    fn other_numbers_and_what_is_no_number_pass() {
        for source in [
            "0, 0.5, 0e5, 10, 100_000, 0o77, 0O77, 0x0f, 0b01, -1, 1.05, 0xffff",
            "#{ umask: 0o077, umask: 7, umask: 18, umask: \"077\", nice: 10 }",
            "\"077\" + '0' + `077 ${\"01\"} 02` // 01\n /* 01 */ a01 + a[0].b01; `$01 {01} \\${01}`",
            // Mistakes are left to the compiler.
            "let = \"",
            "`${",
            "}}",
            "\u{a0}",
            "",
        ] {
            assert_eq!(checked(source), "ok", "{source}");
        }
    }
}
