//! Arguments of a statement. Nothing of them can be taken for SQL: a text or bytes are hexadecimal digits.

use std::fmt::Write;

use data_encoding::HEXLOWER;

/// An argument.
#[derive(Clone, Copy, Debug)]
pub(super) enum Literal<'a> {
    Bytes(&'a [u8]),
    Number(i64),
}

/// Puts the arguments in the place of ?1, ?2, …, each of which has one digit.
pub(super) fn with_arguments(statement: &str, arguments: &[Literal<'_>]) -> String {
    let mut parts = statement.split('?');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digit, rest) = part.split_at(1);
        let number: usize = digit.parse().unwrap_or_else(|_| unreachable!("the file of SQL has ?{digit}"));
        match arguments[number - 1] {
            Literal::Bytes(bytes) => {
                text.push_str("x'");
                HEXLOWER.encode_append(bytes, &mut text);
                text.push('\'');
            }
            Literal::Number(number) => {
                let _ = write!(text, "{number}");
            }
        }
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_an_argument_is_sql() {
        let arguments = [Literal::Bytes(b"';\\?2\0"), Literal::Number(-7), Literal::Bytes(b"")];
        let text = with_arguments("SELECT ?1, ?2 FROM t WHERE a = ?3 AND b = ?1", &arguments);
        assert_eq!(text, "SELECT x'273b5c3f3200', -7 FROM t WHERE a = x'' AND b = x'273b5c3f3200'");
    }
}
