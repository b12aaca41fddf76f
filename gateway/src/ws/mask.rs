//! Undoing the clients' masking.

/// Bytes handled at once: one vector register of every machine we run on.
const CHUNK_BYTES: usize = 16;

/// XORs `bytes` with `key`, repeated, and returns the key rotated to go on after them.
pub fn unmask(bytes: &mut [u8], key: [u8; 4]) -> [u8; 4] {
    let word = u32::from_ne_bytes(key);
    let wide = u128::from(word) * 0x0000_0001_0000_0001_0000_0001_0000_0001;
    let (chunks, rest) = bytes.as_chunks_mut::<CHUNK_BYTES>();
    for chunk in chunks {
        *chunk = (u128::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
    let mut key = key;
    key.rotate_left(rest.len() % 4);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmask_of_any_length_equals_the_definition_and_can_be_cut_anywhere() {
        let key = [0x12, 0x34, 0x56, 0x78];
        for len in 0..70_usize {
            let plain: Vec<u8> = (0..len).map(|i| (i * 37 % 251) as u8).collect();
            let expected: Vec<u8> = (0..len).map(|i| plain[i] ^ key[i % 4]).collect();
            for cut in 0..=len {
                let mut bytes = plain.clone();
                let (head, tail) = bytes.split_at_mut(cut);
                let rotated = unmask(head, key);
                unmask(tail, rotated);
                assert_eq!(bytes, expected, "{len} bytes cut at {cut}");
            }
        }
    }
}
