use super::Packet;

/// Bytes from hexadecimal digits and white space.
fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

const ETHERNET4: &str = "02 00 00 00 00 02  02 00 00 00 00 01  08 00";
const ETHERNET6: &str = "02 00 00 00 00 02  02 00 00 00 00 01  86 dd";
/// An IPv4 header from 10.0.0.1 to 10.0.0.2.
fn ip4(length: usize, protocol: u8) -> String {
    format!("{ETHERNET4} 45 00 {length:04x} 00 00 40 00 40 {protocol:02x} 00 00 0a 00 00 01 0a 00 00 02")
}

/// Each with the line that it is to give.
fn samples() -> Vec<(String, &'static str)> {
    let v6 = "fe80 0000 0000 0000 0000 0000 0000 0001  2001 0db8 0000 0000 0000 0000 0000 0002";
    vec![
        (
            "ff ff ff ff ff ff 02 00 00 00 00 01 08 06  00 01 08 00 06 04 00 01 02 00 00 00 00 01 0a 00 00 01 \
             00 00 00 00 00 00 0a 00 00 02"
                .to_owned(),
            "ARP, Request who-has 10.0.0.2 tell 10.0.0.1",
        ),
        (
            format!("{} 9c40 0050 00000007 00000000 60 02 fa f0 0000 0000 02 04 05 b4", ip4(44, 6)),
            "IP 10.0.0.1:40000 > 10.0.0.2:80: Flags [S], seq 7, win 64240, mss 1460, length 0",
        ),
        (
            format!("{} 9c40 0050 00000008 00000009 50 18 00 01 0000 0000 68 69", ip4(42, 6)),
            "IP 10.0.0.1:40000 > 10.0.0.2:80: Flags [P.], seq 8, ack 9, win 1, length 2",
        ),
        (
            format!(
                "{} 9c40 0035 0021 0000  1267 0100 0001 0000 0000 0000  02 64 62 04 74 65 73 74 00 00 01 00 01",
                ip4(53, 17)
            ),
            "IP 10.0.0.1:40000 > 10.0.0.2:53: DNS 4711 A? db.test (25)",
        ),
        (
            format!(
                "{} 0035 9c40 0021 0000  1267 8183 0001 0000 0000 0000  02 64 62 04 74 65 73 74 00 00 01 00 01",
                ip4(53, 17)
            ),
            "IP 10.0.0.1:53 > 10.0.0.2:40000: DNS 4711 NXDomain, A? db.test (25)",
        ),
        (
            format!(
                "{} 0035 9c40 0031 0000  1267 8180 0001 0001 0000 0000  02 64 62 04 74 65 73 74 00 00 01 00 01 \
                 c00c 0001 0001 00000000 0004 0a000003",
                ip4(69, 17)
            ),
            "IP 10.0.0.1:53 > 10.0.0.2:40000: DNS 4711 A 10.0.0.3, A? db.test (41)",
        ),
        (
            format!(
                "{} 03 03 0000 00000000  45 00 001e 0000 4000 40 11 0000 0a000002 0a000001 0035 9c40 000a 0000",
                ip4(56, 1)
            ),
            "IP 10.0.0.1 > 10.0.0.2: ICMP 10.0.0.1 udp port 40000 unreachable",
        ),
        (
            format!(
                "{} 03 04 0000 0000 0578  45 00 05dc 0000 4000 40 06 0000 0a000002 0a000009 0050 9c40 00000001",
                ip4(56, 1)
            ),
            "IP 10.0.0.1 > 10.0.0.2: ICMP 10.0.0.9 unreachable - need to frag (mtu 1400), for tcp 10.0.0.2:80 > 10.0.0.9:40000",
        ),
        (
            format!(
                "{ETHERNET6} 60 00 00 00 0018 3a ff {v6} 87 00 0000 00000000 2001 0db8 0000 0000 0000 0000 0000 0003"
            ),
            "IP6 fe80::1 > 2001:db8::2: ICMP6 neighbor solicitation, who has 2001:db8::3",
        ),
        (
            format!("{ETHERNET6} 60 00 00 00 000a 11 40 {v6} 9c40 0007 000a 0000 68 69"),
            "IP6 [fe80::1]:40000 > [2001:db8::2]:7: UDP, length 2",
        ),
    ]
}

#[test]
fn packets_are_one_line_each() {
    for (text, line) in samples() {
        let summary = Packet::decode(bytes(&text)).to_string();
        assert_eq!(summary, line);
    }
}

#[test]
fn a_frame_may_be_cut_anywhere() {
    for (text, _) in samples() {
        let whole = bytes(&text);
        for length in 0..whole.len() {
            let packet = Packet::decode_cut(whole[..length].to_vec(), whole.len());
            assert_eq!(packet.length(), whole.len());
            assert!(packet.payload().len() <= length);
            assert!(!packet.to_string().is_empty());
        }
        // Nor need it be what it says that it is.
        for position in 14..whole.len() {
            let mut broken = whole.clone();
            broken[position] ^= 0xff;
            assert!(!Packet::decode(broken).to_string().is_empty());
        }
    }
}

#[test]
fn extension_headers_may_be_cut_or_wrong() {
    let six = |next: u8, rest: &str| {
        let ethernet = format!("020000000002020000000001{}", "86dd");
        bytes(&format!(
            "{ethernet}60000000{:04x}{next:02x}40{}{}{rest}",
            rest.len() / 2,
            "20".repeat(16),
            "21".repeat(16)
        ))
    };
    let options = "3c00000000000000";
    // Behind hop-by-hop options: destination options beyond the end, a header of routing and one of authentication alike, and a
    // fragment's that is cut.
    for (next, header) in
        [("3c", "11090000"), ("2b", "1109000000000000"), ("33", "11ff0000"), ("2c", "110000")]
    {
        let packet = Packet::decode(six(0, &format!("{next}{}{header}", &options[2..])));
        assert!(packet.ip().is_some_and(|ip| ip.fragment.is_none()), "{packet}");
    }
    // A whole one is read wherever it stands.
    let fragment = "1100053900000007";
    for packet in [six(44, fragment), six(0, &format!("2c{}{fragment}", &options[2..]))] {
        let fragment = Packet::decode(packet).ip().and_then(|ip| ip.fragment).expect("a fragment");
        assert_eq!((fragment.identification, fragment.offset, fragment.more), (7, 0x538, true));
    }
    // The same cut anywhere.
    let whole = six(0, &format!("3c{}2c1d{}{fragment}{}", &options[2..], "00".repeat(238), "00".repeat(8)));
    (0..whole.len()).for_each(|length| drop(Packet::decode(whole[..length].to_vec())));
}

#[test]
fn names_stand_in_place_of_addresses() {
    let (text, _) = &samples()[1];
    let packet = Packet::decode(bytes(text));
    let name = |ip: std::net::IpAddr| (ip == packet.ip().unwrap().destination).then(|| "server".to_owned());
    let line = "IP 10.0.0.1:40000 > server:80: Flags [S], seq 7, win 64240, mss 1460, length 0";
    assert_eq!(packet.summary(&name), line);
}

#[test]
fn headers_are_typed() {
    let (text, _) = &samples()[2];
    let packet = Packet::decode(bytes(text));
    assert_eq!(packet.payload(), b"hi");
    assert!(packet.contains("hi") && !packet.contains("ho"));
    assert_eq!(packet.source(), Some("10.0.0.1:40000".parse().unwrap()));
    assert_eq!(packet.destination(), Some("10.0.0.2:80".parse().unwrap()));
    assert_eq!(packet.ethernet().unwrap().source.to_string(), "02:00:00:00:00:01");
    let ip = packet.ip().unwrap();
    assert!(ip.dont_fragment && ip.hop_limit == 64 && ip.fragment.is_none());
    assert!(packet.udp().is_none() && packet.arp().is_none() && packet.icmp().is_none());
    let tcp = packet.tcp().unwrap();
    assert!(tcp.flags.psh && tcp.flags.ack && !tcp.flags.syn && tcp.sequence == 8);
    // A cut packet still tells how much it carried.
    let cut = Packet::decode_cut(bytes(text)[..54].to_vec(), 56);
    assert_eq!((cut.payload().len(), cut.payload_length()), (0, 2));
}

#[test]
fn an_error_tells_the_packet_that_it_is_about() {
    let (text, _) = &samples()[7];
    let packet = Packet::decode(bytes(text));
    let icmp = packet.icmp().unwrap();
    assert!(icmp.is_error() && icmp.mtu == Some(1400));
    let original = icmp.original.unwrap();
    assert_eq!(original.destination, "10.0.0.9:40000".parse().unwrap());
    assert_eq!(original.protocol, 6);
}

#[test]
fn damaged_packets_are_decoded_as_far_as_they_go() {
    let samples: Vec<Vec<u8>> = samples().iter().map(|(text, _)| bytes(text)).collect();
    let of_ip = samples.iter().filter_map(|frame| frame.get(14..)).map(<[u8]>::to_vec).collect();
    let look = |packet: &Packet| {
        let _shown = (packet.to_string(), packet.source(), packet.destination(), packet.dns());
        assert!(packet.payload().len() <= packet.bytes().len());
        packet.payload_length();
    };
    crate::fuzz::survives("frames", samples, move |frame| {
        look(&Packet::decode(frame));
        look(&Packet::decode_cut(frame.to_vec(), frame.len() + 1000));
    });
    crate::fuzz::survives("packets", of_ip, move |packet| {
        look(&Packet::decode_ip(packet.to_vec(), packet.len()))
    });
}
