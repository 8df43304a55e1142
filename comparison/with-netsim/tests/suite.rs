//! 21 echo tests.

measure::suite!(with_netsim::echo);
