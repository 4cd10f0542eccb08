//! A stable hash.

/// A hash that, unlike the standard library's, is the same in every process and release: FNV-1a with 128
/// bits, with offset and prime from the specification. It does not resist attackers, but a collision in one's
/// own config is no attack.
#[derive(Clone)]
pub struct StableHash(u128);

impl Default for StableHash {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl StableHash {
    /// Adds a text. Its length counts, so `ab` and `c` differ from `a` and `bc`.
    pub fn add(&mut self, text: &str) {
        self.add_bytes(&(text.len() as u64).to_le_bytes());
        self.add_bytes(text.as_bytes());
    }

    pub fn add_number(&mut self, number: i64) {
        self.add_bytes(&number.to_le_bytes());
    }

    /// Adds bytes without their length.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul((1 << 88) + (1 << 8) + 0x3b);
        }
    }

    /// Returns the hash as 32 hexadecimal digits.
    pub fn finish(&self) -> String {
        format!("{:032x}", self.0)
    }

    /// Returns the hash in 64 bits.
    pub fn fold(&self) -> u64 {
        (self.0 >> 64) as u64 ^ self.0 as u64
    }
}
