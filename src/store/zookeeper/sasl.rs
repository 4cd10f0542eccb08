//! Logging in by SASL with DIGEST-MD5 (RFC 2831), as ZooKeeper's servers do it.
//!
//! There are two steps, and never more: the server sends a challenge, to which [`respond`] has the answer,
//! and then proves that it knows the password as well ([`Answer::is_proof`]).

use std::borrow::Cow;

/// The service and the host that every ZooKeeper server takes itself for.
const DIGEST_URI: &str = "zookeeper/zk-sasl-md5";

/// We answer one challenge on each connection.
const NONCE_COUNT: &str = "00000001";

/// The longest challenge that there may be (RFC 2831, 2.1.1).
const MAX_TOKEN: usize = 2048;

pub(super) struct Answer {
    pub(super) token: Vec<u8>,
    /// What a server that knows the password replies to it.
    proof: String,
}

/// Answers a challenge. `cnonce` is a random text of ours. Fails, with a reason for people, if the challenge
/// is none.
pub(super) fn respond(
    challenge: &[u8],
    username: &str,
    password: &str,
    cnonce: &str,
) -> Result<Answer, &'static str> {
    let directives = Directives::parse(challenge)?;
    let nonce = directives.single("nonce")?.ok_or("its challenge has no nonce")?;
    if directives.single("algorithm")? != Some("md5-sess") {
        return Err("its challenge has another algorithm than md5-sess");
    }
    if directives.single("charset")?.is_some_and(|charset| charset != "utf-8") {
        return Err("its challenge has another charset than utf-8");
    }
    let is_offered = |qop: &str| qop.split(',').any(|one| one.trim() == "auth");
    if !directives.single("qop")?.is_none_or(is_offered) {
        return Err("its challenge wants more than authentication (qop)");
    }
    let realm = directives.all("realm").next().unwrap_or("");
    let login = Login { username, password, realm, nonce, cnonce };
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let token = format!(
        "charset=utf-8,username=\"{}\",realm=\"{}\",nonce=\"{}\",cnonce=\"{}\",nc={NONCE_COUNT},qop=auth,\
         digest-uri=\"{DIGEST_URI}\",response={}",
        quoted(username),
        quoted(realm),
        quoted(nonce),
        quoted(cnonce),
        login.digest("AUTHENTICATE"),
    );
    Ok(Answer { token: token.into_bytes(), proof: login.digest("") })
}

impl Answer {
    /// Whether this, which the server sends at last, proves that it knows the password.
    pub(super) fn is_proof(&self, token: &[u8]) -> bool {
        let parsed = Directives::parse(token);
        parsed.is_ok_and(|directives| directives.single("rspauth") == Ok(Some(&self.proof)))
    }
}

struct Login<'a> {
    username: &'a str,
    password: &'a str,
    realm: &'a str,
    nonce: &'a str,
    cnonce: &'a str,
}

impl Login<'_> {
    /// Returns the digest that proves the knowledge of the password: with the word AUTHENTICATE ours, without
    /// it the server's.
    fn digest(&self, word: &str) -> String {
        let Self { username, password, realm, nonce, cnonce } = self;
        let secret = [encoded(username), b":"[..].into(), encoded(realm), b":"[..].into(), encoded(password)];
        let secret = md5::compute(secret.concat());
        let a1 = md5::compute([&secret.0[..], format!(":{nonce}:{cnonce}").as_bytes()].concat());
        let a2 = md5::compute(format!("{word}:{DIGEST_URI}"));
        format!("{:x}", md5::compute(format!("{a1:x}:{nonce}:{NONCE_COUNT}:{cnonce}:auth:{a2:x}")))
    }
}

/// Returns the bytes of a text that are hashed: those of ISO 8859-1 where that has all its letters (RFC 2831,
/// 2.1.2.1).
fn encoded(text: &str) -> Cow<'_, [u8]> {
    let latin_1: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    latin_1.map_or(Cow::Borrowed(text.as_bytes()), Cow::Owned)
}

/// The pairs of a challenge: `realm="a",qop=auth`.
struct Directives(Vec<(String, String)>);

impl Directives {
    fn parse(token: &[u8]) -> Result<Self, &'static str> {
        const WRONG: &str = "its challenge is none of DIGEST-MD5";
        if token.len() > MAX_TOKEN {
            return Err("its challenge is too long");
        }
        let text = std::str::from_utf8(token).map_err(|_| WRONG)?;
        let mut directives = Vec::new();
        let is_blank = |c: char| c == ',' || c.is_ascii_whitespace();
        let mut rest = text.trim_start_matches(is_blank);
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=').ok_or(WRONG)?;
            let after = after.trim_ascii_start();
            let value;
            (value, rest) = match after.strip_prefix('"') {
                Some(quoted) => unquoted(quoted).ok_or(WRONG)?,
                None => {
                    let (value, rest) = after.split_at(after.find(is_blank).unwrap_or(after.len()));
                    (value.to_owned(), rest)
                }
            };
            directives.push((key.trim_ascii().to_ascii_lowercase(), value));
            rest = rest.trim_start_matches(is_blank);
        }
        Ok(Self(directives))
    }

    fn all<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == wanted).map(|(_, value)| &**value)
    }

    /// Returns the value of a directive that may occur once.
    fn single<'a>(&'a self, key: &'a str) -> Result<Option<&'a str>, &'static str> {
        let mut values = self.all(key);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err("its challenge says something twice"),
        }
    }
}

/// Takes the text up to the closing quote, and returns it with what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut characters) = (String::new(), text.chars());
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str = r#"realm="zk-sasl-md5",nonce="OA6MG9tEQGm2hh",charset=utf-8,algorithm=md5-sess"#;

    fn answer(challenge: &str) -> Result<Answer, &'static str> {
        respond(challenge.as_bytes(), "chris", "secret", "OA6MHXh6VqTrRk")
    }

    // Computed with Python's hashlib from the text of RFC 2831, 2.1.2.1 and 2.1.3.
    #[test]
    fn a_challenge_is_answered_as_the_standard_says() {
        let answer = answer(CHALLENGE).unwrap_or_else(|reason| panic!("{reason}"));
        assert_eq!(
            String::from_utf8(answer.token.clone()).unwrap(),
            "charset=utf-8,username=\"chris\",realm=\"zk-sasl-md5\",nonce=\"OA6MG9tEQGm2hh\",\
             cnonce=\"OA6MHXh6VqTrRk\",nc=00000001,qop=auth,digest-uri=\"zookeeper/zk-sasl-md5\",\
             response=08659cbbde96b164e9ebf4020a889fa8"
        );
        assert!(answer.is_proof(b"rspauth=6141d16333713b2592fc5680f8d67c3e"));
        for wrong in [
            &b""[..],
            b"rspauth=",
            b"rspauth=00000000000000000000000000000000",
            b"\xff",
            CHALLENGE.as_bytes(),
        ] {
            assert!(!answer.is_proof(wrong));
        }
    }

    #[test]
    fn what_is_no_challenge_is_refused() {
        let long = format!("{CHALLENGE},x=\"{}\"", "y".repeat(MAX_TOKEN));
        let twice = format!("{CHALLENGE},nonce=x");
        for wrong in [
            "",
            "nonce",
            "nonce=",
            "=",
            "\"",
            "nonce=\"",
            "nonce=\"x",
            "nonce=\"x\\",
            "algorithm=md5-sess",
            "nonce=x",
            "nonce=x,algorithm=md5",
            "nonce=x,algorithm=md5-sess,qop=\"auth-conf\"",
            "nonce=x,algorithm=md5-sess,charset=latin1",
            &long,
            &twice,
        ] {
            assert!(answer(wrong).is_err(), "{wrong}");
        }
        for good in [
            "nonce=x,algorithm=md5-sess,qop=\"auth-int, auth\",realm=a,realm=b,other=\"a,b\"",
            ", nonce = \"x\" ,\talgorithm=md5-sess,",
        ] {
            assert!(answer(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_is_quoted_is_unquoted_and_quoted_again() {
        let challenge = r#"nonce="a\"b\\c",algorithm=md5-sess"#;
        let answer =
            respond(challenge.as_bytes(), "we\"", "x", "y").unwrap_or_else(|reason| panic!("{reason}"));
        let token = String::from_utf8(answer.token).unwrap();
        assert!(token.contains(r#"username="we\"",realm="",nonce="a\"b\\c","#), "{token}");
    }

    #[test]
    fn letters_of_latin_1_are_hashed_as_such_and_others_in_utf_8() {
        assert_eq!(*encoded("p\u{e9}"), *b"p\xe9");
        assert_eq!(*encoded("\u{431}"), *b"\xd0\xb1");
    }
}
