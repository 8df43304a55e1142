//! 21 echo tests.

measure::suite!(with_gateflow::echo);
