//! Multicast DNS (RFC 6762): a service that avahi-daemon announces in one node is found from another.

use std::error::Error;

use mdns_sd::{ServiceDaemon, ServiceEvent};
use netns_test::{Node, netns_test};

const CONFIG: &str = "
[server]
host-name=printer
enable-dbus=no
[publish]
publish-workstation=no
";

const SERVICE: &str = "<service-group>
  <name>A printer</name>
  <service><type>_ipp._tcp</type><port>631</port></service>
</service-group>";

#[netns_test(nodes = 2)]
async fn a_service_is_found(laptop: Node, printer: Node) -> Result<(), Box<dyn Error>> {
    printer.write("/etc/avahi/avahi-daemon.conf", CONFIG)?;
    printer.write("/etc/avahi/services/printer.service", SERVICE)?;
    // It insists on user 0, and on a runtime directory of the user `avahi`, which it cannot give away: here they are one.
    printer.write("/etc/passwd", "avahi:x:0:0::/:/bin/false\n")?;
    printer.write("/etc/group", "avahi:x:0:\n")?;
    let flags = ["--no-drop-root", "--no-chroot", "--no-rlimits"];
    let avahi = printer.command("avahi-daemon").args(flags).as_root().spawn().await?;
    avahi.wait_line("successfully established").await?;

    // The library's own thread is started inside the node, and stays there.
    let browser = laptop.enter(ServiceDaemon::new)?;
    let events = browser.browse("_ipp._tcp.local.")?;
    let found = loop {
        // It is told again for each address that is learned.
        match events.recv_async().await? {
            ServiceEvent::ServiceResolved(found) if found.get_addresses_v4().contains(&printer.ip4()) => {
                break found;
            }
            _ => {}
        }
    };
    assert_eq!((found.get_hostname(), found.get_port()), ("printer.local.", 631));
    browser.shutdown()?;
    Ok(())
}
