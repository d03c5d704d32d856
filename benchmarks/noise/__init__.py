"""Training on interactions of which a known part is noise, in the setting of the WSDM 2021 paper."""
