//! WebSocket frames as a client sends and gets them (RFC 6455): the least that a load generator needs.

const FINAL_TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;
/// Any four bytes will do as a mask; a server unmasks with them all the same.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Appends a masked text frame of at most 65,535 bytes.
pub(super) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(FINAL_TEXT);
    if text.len() < 126 {
        out.push(MASKED | text.len() as u8);
    } else {
        out.push(MASKED | 126);
        out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    }
    out.extend_from_slice(&MASK);
    out.extend(text.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Splits the first whole frame off `bytes`: its opcode, its payload, and its length in all.
pub(super) fn split(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (head, len) = match second {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        len => (2, usize::from(len)),
    };
    Some((first & 0x0F, bytes.get(head..head + len)?, head + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_apart_where_they_were_joined() {
        let unmasked = [&[0x81, 2, b'h', b'i'][..], &[0x88, 0], &[0x81, 126, 0, 200], &[b'x'; 200]].concat();
        let (opcode, payload, used) = split(&unmasked).unwrap();
        assert_eq!((opcode, payload, used), (1, &b"hi"[..], 4));
        assert_eq!(split(&unmasked[4..]), Some((8, &b""[..], 2)));
        assert_eq!(split(&unmasked[6..]).unwrap().1, [b'x'; 200]);
        assert_eq!(split(&unmasked[6..100]), None, "not whole yet");
    }

    #[test]
    fn text_is_masked() {
        let mut out = Vec::new();
        put_text(&mut out, b"abc");
        assert_eq!(out[..6], [0x81, 0x83, 0x37, 0xFA, 0x21, 0x3D]);
        assert_eq!(out[6..], [b'a' ^ 0x37, b'b' ^ 0xFA, b'c' ^ 0x21]);
    }
}
