//! The work with gateflow: forked processes, at most two that are connected.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use gateflow::Sandbox;
use gateflow::veth::VethEnd;
use measure::{Error, PORT};

/// Code of a forked process: what goes wrong is its exit code.
fn code(result: Result<(), Error>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

/// A test that is alone in its network.
pub fn isolated() -> Result<(), Error> {
    match Sandbox::new()
        .enter(|| code(TcpListener::bind(("127.0.0.1", PORT)).map(drop).map_err(Into::into)))?
    {
        0 => Ok(()),
        code => Err(format!("it ended with {code}").into()),
    }
}

fn pair(
    serve: impl FnOnce(TcpStream) -> Result<(), Error>,
    call: impl FnOnce(TcpStream) -> Result<(), Error>,
) -> Result<(), Error> {
    let server = |end: VethEnd| {
        let serves = || {
            let listener = TcpListener::bind((end.address, PORT))?;
            end.signal_done()?;
            serve(listener.accept()?.0)
        };
        code(serves())
    };
    let client = |end: VethEnd| {
        let calls = || {
            if !end.wait_for_peer(Duration::from_secs(10))? {
                return Err("the server does not listen".into());
            }
            call(TcpStream::connect((end.peer_address, PORT))?)
        };
        code(calls())
    };
    match Sandbox::paired().enter(server, client)? {
        (0, 0) => Ok(()),
        codes => Err(format!("they ended with {codes:?}").into()),
    }
}

/// Two processes, connected.
pub fn connected() -> Result<Instant, Error> {
    let (mut tells, told) = std::io::pipe()?;
    let start = Instant::now();
    pair(
        |_| Ok(()),
        // The clock is the same in all processes.
        |_| Ok((&told).write_all(&(start.elapsed().as_nanos() as u64).to_ne_bytes())?),
    )?;
    let mut nanos = [0; 8];
    tells.read_exact(&mut nanos)?;
    Ok(start + Duration::from_nanos(u64::from_ne_bytes(nanos)))
}

/// The echo test.
pub fn echo() -> Result<(), Error> {
    pair(
        |mut stream| {
            let mut buffer = [0; 2];
            stream.read_exact(&mut buffer)?;
            Ok(stream.write_all(&buffer)?)
        },
        |mut stream| {
            let mut buffer = [0; 2];
            stream.write_all(b"hi")?;
            stream.read_exact(&mut buffer)?;
            assert_eq!(&buffer, b"hi");
            Ok(())
        },
    )
}
