//! The page of a failed test, in a browser that has no network: it shows what is there, filters, unfolds, is light or dark, fits a phone, and stays
//! smooth with 10,000 packets.
//!
//! `NETNS_PROOF_SCREENSHOTS=/tmp/shots cargo test -p netns-test-tests --features programs --test page -- --nocapture` leaves pictures there, and
//! prints how long frames take.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::{env, fs, io, process};

use netns_test::{Child, Conditions, Network, Node, Percent, Router, Topology, netns_test};
use netns_test_tests::rerun;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// As many packets as a page has.
const MOST: usize = 10_000;

#[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server), family = v4, timeout = 10s)]
#[ignore = "fails on purpose"]
async fn stumbles(client: Node, server: Node, _r: Router) -> io::Result<()> {
    client
        .command("sh")
        .args(["-c", "echo asks </dev/null; echo 'it is <b>bold</b> & \"quoted\"' >&2"])
        .status()
        .await?;
    let listener = server.listen_tcp(80).await?;
    let mut out = client.connect_tcp("server:80").await?;
    let (mut inside, _) = listener.accept().await?;
    tracing::info!(port = 80, "connected");
    out.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
    inside.read_exact(&mut [0; 18]).await?;
    server.run(async || tracing::warn!("asked")).await;
    // A port that refuses, a datagram that nobody takes, and packets that are too large for the last link.
    drop(client.connect_tcp("server:81").await.expect_err("nobody listens"));
    let socket = client.bind_udp(9).await?;
    socket.connect((server.ip(), 53)).await?;
    socket.send(b"is anybody there?").await?;
    socket.recv(&mut [0]).await.expect_err("nobody is");
    server.interface("eth0")?.set_mtu(1280)?;
    out.write_all(&[0; 1448]).await?;
    let mut buffer = [0; 1448];
    let answer = inside.read_exact(&mut buffer);
    tokio::time::timeout(std::time::Duration::from_secs(1), answer).await??;
    Ok(())
}

#[netns_test(nodes(client, server), links(client -- server { wire = user }), family = v4)]
#[ignore = "fails on purpose"]
async fn corrupted(client: Node, server: Node, network: Network) -> io::Result<()> {
    let (out, inside) = (client.bind_udp(9).await?, server.bind_udp(7).await?);
    out.send_to(b"hello", (server.ip(), 7)).await?;
    inside.recv_from(&mut [0; 9]).await?;
    let corrupt = Conditions::new().corrupt(Percent(100.0));
    let _corrupt = network.link(&client, &server)?.from(&client)?.set_conditions(corrupt)?;
    let capture = server.capture()?;
    out.send_to(&[7; 99], (server.ip(), 7)).await?;
    capture.until("what is left of it", |packet| packet.length() == 99 + 42).await?;
    panic!("on purpose");
}

/// A directory of this proof's own, gone in the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("netns-test-page-{}-{name}", process::id()));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    /// The page that a test leaves which fails.
    fn page(&self, test: &str) -> PathBuf {
        let mut path = self.0.join("files");
        rerun(test).env("NETNS_TEST_DIR", path.to_str().expect("text")).run().failed_with(&[]);
        // One binary, one test, one attempt.
        for _ in 0..3 {
            let only = fs::read_dir(&path).expect("a directory").next().expect("something in it");
            path = only.expect("an entry").path();
        }
        path.join("packets.html")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left is in the directory for temporary files.
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// Chromium in a node that has nothing but its loopback and a switch without anybody else, by the DevTools protocol.
struct Browser {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    child: Child,
    session: String,
    calls: u64,
}

impl Browser {
    fn start(network: &Network, directory: &Path) -> io::Result<Self> {
        let script = "exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-extensions \
             --user-data-dir=\"$HOME\" --remote-debugging-pipe about:blank 3<&0 4>&1 </dev/null >/dev/null";
        let profile = directory.join("profile");
        fs::create_dir(&profile)?;
        let mut command = network.node("browser")?.command("sh");
        command.args(["-c", script]).env("HOME", &profile).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.blocking_spawn()?;
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut browser =
            Self { input, output: BufReader::new(output), child, session: String::new(), calls: 0 };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        browser.call("Page.enable", json!({}));
        Ok(browser)
    }

    fn message(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.output.read_until(0, &mut bytes).expect("it can be read");
        assert_eq!(bytes.pop(), Some(0), "chromium ended: {:#?}", self.child.lines());
        serde_json::from_slice(&bytes).expect("JSON")
    }

    fn send(&mut self, method: &str, parameters: Value) -> u64 {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.input.write_all(format!("{message}\0").as_bytes()).expect("chromium reads");
        self.calls
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        let id = self.send(method, parameters);
        loop {
            let message = self.message();
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    /// What an expression of the page is, once it is known.
    fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    fn open(&mut self, page: &Path) {
        self.send("Page.navigate", json!({ "url": format!("file://{}", page.display()) }));
        while self.message()["method"] != "Page.loadEventFired" {}
        // What the page draws follows its layout.
        self.drawn();
    }

    fn drawn(&mut self) {
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
    }

    fn looks(&mut self, (width, height): (u32, u32), scheme: &str) {
        let is_phone = width < 600;
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": if is_phone { 2 } else { 1 }, "mobile": is_phone
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", scheme);
        self.drawn();
    }

    fn click(&mut self, x: f64, y: f64) {
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
        self.drawn();
    }

    /// Leaves a picture where somebody wants to look at it.
    fn picture(&mut self, name: &str) {
        let Some(directory) = env::var_os("NETNS_PROOF_SCREENSHOTS") else { return };
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let file = fs::File::create(Path::new(&directory).join(format!("{name}.png"))).expect("a file");
        let mut decode =
            Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(file).spawn().expect("base64");
        let data = picture["data"].as_str().expect("a picture");
        decode.stdin.take().expect("piped").write_all(data.as_bytes()).expect("it reads");
        assert!(decode.wait().expect("it ends").success());
    }
}

/// Opens a page in a browser that has no network.
fn look_at(page: &Path, directory: &Directory, look: impl FnOnce(&mut Browser) + Send) {
    let mut topology = Topology::new();
    topology.node("browser");
    let looked = topology.run(|network| {
        let mut browser = Browser::start(network, &directory.0)?;
        browser.open(page);
        look(&mut browser);
        io::Result::Ok(())
    });
    looked.expect("a network").expect("a browser");
}

const DESK: (u32, u32) = (1200, 800);
const PHONE: (u32, u32) = (390, 844);

/// `7 of 9`
fn count(browser: &mut Browser) -> (u64, u64) {
    let text = browser.evaluate("document.getElementById('count').textContent");
    let (shown, all) = text.as_str().and_then(|text| text.split_once(" of ")).expect("a count");
    (shown.parse().expect("a number"), all.parse().expect("a number"))
}

/// How many points of a canvas have a colour of the page's.
fn points(browser: &mut Browser, canvas: &str, name: &str) -> u64 {
    let expression = format!(
        "(() => {{
            const probe = document.createElement('canvas').getContext('2d');
            probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim();
            probe.fillRect(0, 0, 1, 1);
            const [red, green, blue] = probe.getImageData(0, 0, 1, 1).data;
            const canvas = document.getElementById('{canvas}');
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            let count = 0;
            for (let at = 0; at < data.length; at += 4)
                count += data[at] === red && data[at + 1] === green && data[at + 2] === blue;
            return count;
        }})()"
    );
    browser.evaluate(&expression).as_u64().expect("a number")
}

fn is_hidden(browser: &mut Browser) -> bool {
    browser.evaluate("document.getElementById('details').hidden") == true
}

/// What the page has to say of a packet that is selected by a click on its row.
fn unfolded(browser: &mut Browser, row: usize) -> String {
    browser.evaluate("document.getElementById('diagram').scrollIntoView()");
    let box_of = "document.getElementById('scroller').getBoundingClientRect()";
    let place = browser.evaluate(&format!("[{box_of}.left, {box_of}.top]"));
    let [x, y] = [0, 1].map(|at| place[at].as_f64().expect("a number"));
    browser.click(x + 200.0, y + 24.0 + 36.0 * row as f64 + 18.0);
    assert!(!is_hidden(browser));
    browser.evaluate("document.getElementById('details').textContent").as_str().expect("text").to_owned()
}

#[test]
fn it_shows_what_is_there() {
    let directory = Directory::new("shows");
    let page = directory.page("stumbles");
    look_at(&page, &directory, |browser| {
        browser.looks(DESK, "light");
        browser.picture("light");
        assert_eq!(browser.evaluate("performance.getEntriesByType('resource').length"), 0);
        assert_eq!(browser.evaluate("document.querySelectorAll('#topology rect').length"), 3);
        let drawn = browser.evaluate("document.getElementById('topology').textContent");
        for text in ["client", "server", "r", "10.1.1.2"] {
            assert!(drawn.as_str().expect("text").contains(text), "`{text}` is missing: {drawn}");
        }
        let signs = browser.evaluate("document.getElementById('signs').textContent");
        assert!(signs.as_str().expect("text").contains("did not arrive"), "{signs}");
        let tally = browser.evaluate("document.getElementById('tally').textContent");
        for text in ["✗ did not arrive", "↻ once more", "✗ reset", "✗ error"] {
            assert!(tally.as_str().expect("text").contains(text), "`{text}` is missing: {tally}");
        }
        // Each kind of packet has its colour, in both schemes; the background is the scheme's.
        for scheme in ["light", "dark"] {
            browser.looks(DESK, scheme);
            let has = |browser: &mut Browser, canvas, names: &[&str]| {
                for name in names {
                    assert!(points(browser, canvas, name) > 10, "{name} in {canvas}, {scheme}");
                }
            };
            has(browser, "canvas", &["data", "log"]);
            has(browser, "map", &["lost", "again", "error"]);
            assert!(points(browser, "canvas", "back") > 100_000, "{scheme}");
            browser.evaluate("document.getElementById('trouble').click()");
            has(browser, "canvas", &["lost", "again", "error"]);
            browser.picture(&format!("trouble-{scheme}"));
            browser.evaluate("document.getElementById('trouble').click()");
        }
        browser.picture("dark");
    });
}

#[test]
fn it_shows_what_was_corrupted() {
    let directory = Directory::new("corrupted");
    let page = directory.page("corrupted");
    look_at(&page, &directory, |browser| {
        browser.looks(DESK, "light");
        let tally = browser.evaluate("document.getElementById('tally').textContent");
        // Where a port was, there may be an error of ICMP beside it.
        assert!(tally.as_str().is_some_and(|tally| tally.starts_with("1 ✗ corrupted on its way")), "{tally}");
        browser.evaluate("document.getElementById('trouble').click()");
        assert!(points(browser, "canvas", "lost") > 10 && points(browser, "map", "lost") > 10);
        assert!(count(browser).0 >= 1);
        browser.picture("corrupted");
    });
}

#[test]
fn it_filters() {
    let directory = Directory::new("filters");
    let page = directory.page("stumbles");
    look_at(&page, &directory, |browser| {
        browser.looks(DESK, "light");
        let (shown, all) = count(browser);
        assert!(shown > 20 && shown < all, "{shown} of {all}: ARP is not shown at first");
        browser.evaluate("document.getElementById('housekeeping').click()");
        assert_eq!(count(browser), (all, all));
        browser.evaluate("document.getElementById('housekeeping').click()");
        // By text, protocol, trouble and node.
        let search = "(text) => { const field = document.getElementById('search'); field.value = text; field.oninput(); }";
        browser.evaluate(&format!("({search})('udp port 53 unreachable')"));
        assert_eq!(count(browser), (2, all));
        browser.evaluate(&format!("({search})('')"));
        let choose = "(text) => { const field = document.getElementById('protocol'); field.value = text; field.oninput(); }";
        let of = ["TCP", "UDP", "ICMP", "log"].map(|kind| {
            browser.evaluate(&format!("({choose})('{kind}')"));
            count(browser).0
        });
        assert_eq!((of.iter().sum::<u64>(), of[1], of[2], of[3]), (shown, 2, 2, 4), "{of:?}");
        browser.evaluate(&format!("({choose})('')"));
        browser.evaluate("document.getElementById('trouble').click()");
        let trouble = count(browser).0;
        assert!(trouble > 4 && trouble < shown / 2 + 4, "{trouble}");
        browser.evaluate("document.getElementById('trouble').click()");
        let press = "document.querySelector('#nodes button').click()";
        browser.evaluate(press);
        browser.evaluate("document.querySelectorAll('#nodes button')[1].click()");
        let of_server = count(browser).0;
        assert!(of_server > 0 && of_server < shown, "{of_server}");
        browser.evaluate(press);
        browser.evaluate("document.querySelectorAll('#nodes button')[1].click()");
        assert_eq!(count(browser), (shown, all));
    });
}

#[test]
fn a_packet_unfolds() {
    let directory = Directory::new("unfolds");
    let page = directory.page("stumbles");
    look_at(&page, &directory, |browser| {
        browser.looks(DESK, "dark");
        assert!(is_hidden(browser));
        // What the program wrote is text, whatever is in it.
        assert!(unfolded(browser, 1).contains("it is <b>bold</b> & \"quoted\""));
        let syn = unfolded(browser, 2);
        for text in [
            "client → r",
            "IPv4",
            "10.1.0.1 > 10.1.1.2",
            "flags S,",
            "largest segment 1460",
            "Bytes",
            "0000  ",
        ] {
            assert!(syn.contains(text), "`{text}` is missing: {syn}");
        }
        browser.picture("unfolded");
        for (key, is_gone) in [("ArrowDown", false), ("ArrowUp", false), ("Escape", true)] {
            let press = format!("scroller.onkeydown(new KeyboardEvent('keydown', {{ key: '{key}' }}))");
            browser.evaluate(&press);
            assert_eq!(is_hidden(browser), is_gone, "{key}");
        }
    });
}

#[test]
fn it_fits_a_phone() {
    let directory = Directory::new("phone");
    let page = directory.page("stumbles");
    look_at(&page, &directory, |browser| {
        for scheme in ["light", "dark"] {
            browser.looks(PHONE, scheme);
            browser.picture(&format!("phone-{scheme}"));
            unfolded(browser, 2);
            browser.picture(&format!("phone-{scheme}-unfolded"));
            assert_eq!(browser.evaluate("document.documentElement.scrollWidth"), PHONE.0);
            // Nothing sticks out, but for the drawing, which scrolls by itself.
            let sticks_out = "[...document.querySelectorAll('body *')]
                .filter((element) => !element.closest('#topology, pre') && element.getBoundingClientRect().right > innerWidth)
                .map((element) => element.tagName + '#' + element.id)";
            assert_eq!(browser.evaluate(sticks_out), json!([]));
            // There is room for packets.
            let height = browser.evaluate("document.getElementById('scroller').clientHeight");
            assert!(height.as_u64().is_some_and(|height| height >= 200), "{height}");
            browser.evaluate("show(null), scrollTo(0, 0)");
        }
    });
}

/// The page with its packets again and again, until there are as many as a page has.
fn full(page: &Path) -> String {
    let text = fs::read_to_string(page).expect("a page");
    let (before, rest) = text.split_once("<script id=\"data\" type=\"application/json\">").expect("data");
    let (data, after) = rest.split_once("</script>").expect("its end");
    let mut data: Value = serde_json::from_str(data).expect("JSON");
    let packets = data["packets"].as_array().expect("packets").clone();
    let again = packets.iter().cycle().take(MOST).enumerate().map(|(number, packet)| {
        let mut packet = packet.clone();
        packet[0] = json!(number);
        packet
    });
    data["packets"] = again.collect();
    format!(
        "{before}<script id=\"data\" type=\"application/json\">{}</script>{after}",
        data.to_string().replace('<', "\\u003c")
    )
}

#[test]
fn ten_thousand_packets_are_scrolled_through() {
    let directory = Directory::new("many");
    let page = directory.0.join("many.html");
    fs::write(&page, full(&directory.page("stumbles"))).expect("a file");
    look_at(&page, &directory, |browser| {
        browser.looks(DESK, "light");
        browser.evaluate("document.getElementById('housekeeping').click()");
        assert_eq!(count(browser).0, MOST as u64 + 4);
        let loaded = browser.evaluate("performance.getEntriesByType('navigation')[0].domComplete");
        let frames = browser.evaluate(
            "new Promise((done) => {
                const scroller = document.getElementById('scroller'), took = [], drawing = [];
                const end = scroller.scrollHeight - scroller.clientHeight;
                let last = performance.now();
                const frame = (now) => {
                    took.push(now - last);
                    last = now;
                    const started = performance.now();
                    draw();
                    drawing.push(performance.now() - started);
                    scroller.scrollTop = end * took.length / 200;
                    if (took.length < 200) return requestAnimationFrame(frame);
                    const sorted = (all) => all.slice(1).sort((left, right) => left - right);
                    done([sorted(took)[99], sorted(took)[196], sorted(drawing)[99], sorted(drawing)[196], scroller.scrollTop / end]);
                };
                requestAnimationFrame(frame);
            })",
        );
        println!(
            "10,000 packets, shown after {loaded} ms; [median and 99th of frames, of drawing one, in ms, end]: {frames}"
        );
        assert!(frames[4].as_f64().is_some_and(|end| end > 0.99), "{frames}");
        // The last row is there, and unfolds.
        browser.drawn();
        browser.evaluate("select(1e9)");
        let last = browser.evaluate("document.querySelector('#details h2').textContent");
        assert!(!is_hidden(browser) && last.as_str().is_some_and(|last| last.contains(" ms ")), "{last}");
    });
}
