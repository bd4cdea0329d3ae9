//! Masking: every byte of a client's payload is XORed with one of four key bytes (RFC 6455, 5.3).

/// Masks `payload`, or unmasks it: both are the same. Eight bytes at a time.
pub fn apply(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masking_is_what_the_rfc_says_for_every_length() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for size in 0..40usize {
            let plain: Vec<u8> = (0..size).map(|n| (n * 7) as u8).collect();
            let mut masked = plain.clone();
            apply(&mut masked, key);
            for (n, byte) in masked.iter().enumerate() {
                assert_eq!(*byte, plain[n] ^ key[n % 4]);
            }
            apply(&mut masked, key);
            assert_eq!(masked, plain);
        }
    }
}
