//! Who may have one more connection: so many at once, and so many of one address, so that nobody keeps the others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::peer::Front;
use crate::limit::network;

/// The connections of each address.
#[derive(Clone)]
pub(super) struct Doors {
    /// Of one address. None: as many as it likes.
    most: Option<usize>,
    front: Front,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection's place, until it is dropped.
pub(super) struct Place {
    doors: Doors,
    /// None: it is not counted.
    address: Option<IpAddr>,
}

impl Doors {
    /// With 0 there is no limit.
    pub fn new(most: usize, front: Front) -> Self {
        Self {
            most: Some(most).filter(|most| *most > 0),
            front,
            open: Arc::default(),
        }
    }

    /// None: this address has as many as it may. Those of this machine and of the proxies in front are not counted, for
    /// they stand for many.
    pub fn admit(&self, ip: IpAddr) -> Option<Place> {
        let is_many = ip.to_canonical().is_loopback() || self.front.trusts(ip);
        let most = self.most.filter(|_| !is_many);
        let address = most.map(|_| network(ip));
        if let (Some(most), Some(address)) = (most, address) {
            let mut open = self.lock();
            let count = open.entry(address).or_default();
            if *count >= most {
                return None;
            }
            *count += 1;
        }
        Some(Place {
            doors: self.clone(),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.address else {
            return;
        };
        let mut open = self.doors.lock();
        if let Some(count) = open.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_all_places() {
        let front = Front {
            trusted: vec!["10.0.0.0/8".parse().unwrap()],
            ..Front::default()
        };
        let doors = Doors::new(2, front);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = doors.admit(ip("192.0.2.1"));
        let second = doors.admit(ip("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(doors.admit(ip("192.0.2.1")).is_none());
        assert!(
            doors.admit(ip("192.0.2.2")).is_some(),
            "another's are its own"
        );
        drop(first);
        let third = doors.admit(ip("192.0.2.1"));
        assert!(third.is_some());
        let network: Vec<_> = (0..2).map(|_| doors.admit(ip("2001:db8::1"))).collect();
        assert!(doors.admit(ip("2001:db8::2")).is_none(), "one customer's");
        for many in ["127.0.0.1", "::1", "10.1.2.3"] {
            let admitted: Vec<_> = (0..9).map(|_| doors.admit(ip(many))).collect();
            assert!(admitted.iter().all(Option::is_some), "{many}");
        }
        drop((second, third, network));
        assert!(doors.lock().is_empty(), "nothing is left of those who went");
        assert!(
            Doors::new(0, Front::default())
                .admit(ip("192.0.2.1"))
                .is_some()
        );
    }
}
